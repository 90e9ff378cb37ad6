#include "bench/kernel_operands.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/float16.h"
#include "device/device.h"
#include "kernels/api/cuda_measure.h"
#include "kernels/cuda/w4_stream.h"

namespace awq::bench {
namespace {

using device::check;
using kernels::cuda::Half;
using kernels::cuda::W4Layout;

constexpr std::uint64_t kHalfBytes = 2;
constexpr std::int64_t kStripRows = 128;
constexpr std::int64_t kSampledStrips = 4;
constexpr std::int64_t kSampledOfStrip = 8;
constexpr std::int64_t kSampledTokens = 4;
constexpr int kPoison = 0xFF;  ///< NaN in every type

std::uint64_t bytes_of(std::int64_t rows, std::int64_t width) {
  return static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(width) * kHalfBytes;
}
/// Copies of so many bytes that a cache cannot hold.
std::int64_t copies_beyond(std::uint64_t cache, std::uint64_t bytes) {
  return static_cast<std::int64_t>(std::max<std::uint64_t>(1, (cache + bytes - 1) / bytes + 1));
}
float widen(Half type, std::uint16_t bits) { return type == Half::kF16 ? to_float(F16{bits}) : to_float(Bf16{bits}); }
/// `count` of the numbers 0 .. size - 1, the first and the last among them.
std::set<std::int64_t> spread(std::int64_t size, std::int64_t count) {
  std::set<std::int64_t> out;
  for (std::int64_t i = 0; i < count; ++i) out.insert((size - 1) * i / (count - 1));
  return out;
}

}  // namespace

KernelOperands::KernelOperands(const W4Layout& layout, Half type, std::int64_t rows, std::uint64_t cache_bytes,
                               const device::Stream& stream)
    : layout_(layout), type_(type) {
  const auto bytes = static_cast<std::uint64_t>(layout.bytes());
  copies_ = copies_beyond(cache_bytes, bytes);
  dense_copies_ = copies_beyond(cache_bytes, bytes_of(layout.n, layout.k));
  stream_ = device::Buffer(bytes * static_cast<std::uint64_t>(copies_));
  halves_ = device::Buffer(bytes_of(layout.n * dense_copies_, layout.k));
  x_ = device::Buffer(bytes_of(rows, layout.k));
  y_ = device::Buffer(bytes_of(rows, layout.n));
  other_y_ = device::Buffer(bytes_of(rows, layout.n));
  workspace_ = device::Buffer(kernels::cuda::w4_workspace_bytes(layout, rows));
  panel_ = device::Buffer(kernels::cuda::w4_panel_bytes(layout));
  counter_ = device::Buffer(sizeof(std::uint32_t));
  for (std::int64_t i = 0; i < copies_; ++i) {
    check(kernels::cuda::fill_stream(layout, stream_.data() + i * layout.bytes(), static_cast<std::uint32_t>(7 * i),
                                     stream.get()),
          "fill_stream");
  }
  constexpr float kWeightDeviation = 0.02F;
  check(kernels::cuda::fill_normal(type, halves_.data(), static_cast<std::int64_t>(halves_.bytes() / kHalfBytes),
                                   kWeightDeviation, 3, stream.get()),
        "fill_normal");
  check(kernels::cuda::fill_normal(type, x_.data(), rows * layout.k, 1, 4, stream.get()), "fill_normal");
  if (workspace_.bytes() != 0) device::fill(workspace_.data(), 0, workspace_.bytes(), stream);
  stream.synchronize();  // kernels may read their weights before the kernel in front of them has ended
  sample_weights();
}

kernels::cuda::W4Problem KernelOperands::problem(std::int64_t m, int copy, const device::Buffer& y) const {
  return {.layout = layout_,
          .type = type_,
          .weight = stream_.data() + copy % copies_ * layout_.bytes(),
          .x = x_.data(),
          .y = y.data(),
          .m = m,
          .workspace = workspace_.data()};
}

const void* KernelOperands::halves(int copy) const {
  return halves_.data() + bytes_of(layout_.n, layout_.k) * static_cast<std::uint64_t>(copy % dense_copies_);
}

void KernelOperands::poison(const device::Buffer& y, std::int64_t m, const device::Stream& stream) const {
  device::fill(y.data(), kPoison, bytes_of(m, layout_.n), stream);
}

std::uint32_t KernelOperands::different(std::int64_t m, const device::Stream& stream) const {
  device::fill(counter_.data(), 0, counter_.bytes(), stream);
  check(kernels::cuda::count_different(y_.data(), other_y_.data(), m * layout_.n,
                                       reinterpret_cast<std::uint32_t*>(counter_.data()), stream.get()),
        "count_different");
  stream.synchronize();
  std::uint32_t out = 0;
  device::download(&out, counter_.data(), sizeof out);
  return out;
}

void KernelOperands::sample_weights() {
  std::vector<std::uint8_t> strip(static_cast<std::size_t>(layout_.strip_bytes()));
  for (const std::int64_t index : spread(layout_.strips(), kSampledStrips)) {
    const std::int64_t origin = index * layout_.strip_bytes();
    device::download(strip.data(), stream_.data() + origin, strip.size());
    const auto at = [&](std::int64_t offset) { return strip.data() + (offset - origin); };
    for (std::int64_t i = 0; i < kSampledOfStrip; ++i) {
      const std::int64_t row = index * kStripRows + (i * 17 + 5) % kStripRows;
      if (row >= layout_.n) continue;
      sampled_rows_.push_back(row);
      for (std::int64_t input = 0; input < layout_.k; ++input) {
        const int bit = kernels::cuda::w4_code_bit(row, input);
        const int code = *at(kernels::cuda::w4_vector_offset(layout_, row, input) + bit / 8) >> (bit % 8) & 15;
        const int zero = *at(kernels::cuda::w4_zero_offset(layout_, row, input)) >> (row / 8 % 2 * 4) & 15;
        F16 scale{};
        std::memcpy(&scale.bits, at(kernels::cuda::w4_scale_offset(layout_, row, input)), sizeof scale.bits);
        sampled_.push_back(static_cast<double>(to_float(scale)) * (code - zero));
      }
    }
  }
}

double KernelOperands::sampled_error(std::int64_t m) const {
  const auto k = static_cast<std::size_t>(layout_.k);
  std::vector<std::uint16_t> bits(k);
  std::vector<double> x(k);
  double error = 0, norm = 0;
  for (const std::int64_t token : spread(m, kSampledTokens)) {
    device::download(bits.data(), x_.data() + bytes_of(token, layout_.k), bits.size() * kHalfBytes);
    for (std::size_t i = 0; i < k; ++i) x[i] = widen(type_, bits[i]);
    for (std::size_t s = 0; s < sampled_rows_.size(); ++s) {
      double sum = 0;
      for (std::size_t i = 0; i < k; ++i) sum += sampled_[s * k + i] * x[i];
      std::uint16_t found = 0;
      device::download(&found, y_.data() + bytes_of(token, layout_.n) + bytes_of(1, sampled_rows_[s]), sizeof found);
      const double difference = widen(type_, found) - sum;
      error += difference * difference;
      norm += sum * sum;
    }
  }
  return std::sqrt(error / norm);
}

}  // namespace awq::bench
