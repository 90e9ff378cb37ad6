// The 4-bit kernels on an emulated device, all that it can run: against binary64, and one another bit by bit whatever
// the number of tokens; then the expansion of a stream against the definition of a quantized weight.
//   w4_emulated_check DEVICE; status 1 on any failure

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/float16.h"
#include "base/random.h"
#include "device/device.h"
#include "device/memory.h"
#include "kernels/api/cuda_linear.h"
#include "quant/quantized_tensor.h"

namespace {

using namespace awq;
using kernels::cuda::Half;
using kernels::cuda::W4Layout;
using kernels::cuda::W4Problem;

int failures = 0;
int checks = 0;
std::uint64_t drawn = 0;
std::vector<int> runs(64);  // of kernels

std::uint64_t draw(std::uint64_t below) { return random_bits(11, drawn++) % below; }
float draw_number() { return (static_cast<float>(draw(2001)) - 1000) / 500; }

std::uint16_t narrow(Half type, float v) { return type == Half::kF16 ? to_f16(v).bits : to_bf16(v).bits; }
float widen(Half type, std::uint16_t bits) { return type == Half::kF16 ? to_float(F16{bits}) : to_float(Bf16{bits}); }

void expect(bool good, const std::string& what) {
  ++checks;
  if (good) return;
  ++failures;
  fmt::print("FAIL {}\n", what);
}

template <typename T>
device::Buffer on_device(const std::vector<T>& values) {
  device::Buffer out(values.size() * sizeof(T));
  device::upload(out.data(), values.data(), out.bytes());
  return out;
}
template <typename T>
std::vector<T> from_device(const device::Buffer& buffer) {
  std::vector<T> out(buffer.bytes() / sizeof(T));
  device::download(out.data(), buffer.data(), buffer.bytes());
  return out;
}

struct Case {
  std::int64_t n, k, group;
  bool has_bias;
};

struct Weight {
  /// With `extreme` some scales make weights that are subnormal in F16, or beyond it.
  Weight(const Case& c, bool extreme) : layout{c.n, c.k, c.group} {
    tensor.scheme = {.bits = 4, .group_size = c.group};
    tensor.out_features = static_cast<std::uint64_t>(c.n);
    tensor.in_features = static_cast<std::uint64_t>(c.k);
    const auto weights = static_cast<std::size_t>(c.n * c.k);
    const auto groups = static_cast<std::size_t>(c.n * (c.k / c.group));
    tensor.codes = AlignedBuffer<std::uint8_t>(weights);
    tensor.scales = AlignedBuffer<float>(groups);
    tensor.zero_points = AlignedBuffer<std::uint8_t>(groups);
    for (auto& v : tensor.codes) v = static_cast<std::uint8_t>(draw(16));
    for (auto& v : tensor.zero_points) v = static_cast<std::uint8_t>(draw(16));
    for (auto& v : tensor.scales) {
      const auto kind = extreme ? draw(20) : 20;
      v = to_float(to_f16(kind == 0 ? 3e-7F : kind == 1 ? 60000.0F : 0.002F + 4e-6F * static_cast<float>(draw(1000))));
    }
    bias.resize(static_cast<std::size_t>(c.n));
    for (auto& v : bias) v = draw_number();
    std::vector<std::uint8_t> packed(static_cast<std::size_t>(layout.bytes()));
    const kernels::PackSource source{
        .codes = tensor.codes.data(), .scales = tensor.scales.data(), .zero_points = tensor.zero_points.data()};
    for (std::int64_t strip = 0; strip < layout.strips(); ++strip) {
      w4_pack_strip(layout, source, strip, packed.data() + strip * layout.strip_bytes());
    }
    stream = on_device(packed);
    if (c.has_bias) bias_on_device = on_device(bias);
    dense.resize(weights);
    quant::dequantize_rows(tensor, 0, tensor.out_features, dense.data());
  }

  W4Layout layout;
  quant::QuantizedTensor tensor;
  std::vector<float> bias, dense;
  device::Buffer stream, bias_on_device;
};

std::string name_of(const Case& c, Half type) {
  return fmt::format("{} x {}, group {}, {}{}", c.n, c.k, c.group, type == Half::kF16 ? "f16" : "bf16",
                     c.has_bias ? ", bias" : "");
}

/// Every weight of a panel is the definition's, rounded once; so is the bias; nothing behind them is written.
void check_expansion(const Case& c, Half type) {
  const Weight weight(c, true);
  constexpr std::size_t kBehind = 64;
  const auto bytes = static_cast<std::size_t>(kernels::cuda::w4_panel_bytes(weight.layout));
  const device::Buffer panel = on_device(std::vector<std::uint8_t>(bytes + kBehind, 0xEE));
  device::check(
      kernels::cuda::w4_expand(weight.layout, type, weight.stream.data(),
                               reinterpret_cast<const float*>(weight.bias_on_device.data()), panel.data(), nullptr),
      "w4_expand");
  const auto found = from_device<std::uint16_t>(panel);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < weight.dense.size(); ++i) wrong += found[i] != narrow(type, weight.dense[i]);
  for (std::size_t i = 0; i < weight.bias.size(); ++i) {
    const std::uint16_t expected = c.has_bias ? narrow(type, weight.bias[i]) : 0xEEEE;
    wrong += found[weight.dense.size() + i] != expected;
  }
  for (std::size_t i = bytes / 2; i < found.size(); ++i) wrong += found[i] != 0xEEEE;
  expect(wrong == 0, fmt::format("expansion of {}: {} wrong numbers", name_of(c, type), wrong));
}

void check_products(const Case& c, Half type, const std::vector<std::int64_t>& ms) {
  const Weight weight(c, false);
  const std::int64_t most = ms.front();
  std::vector<std::uint16_t> x(static_cast<std::size_t>(most * c.k));
  for (auto& v : x) v = narrow(type, draw_number());
  const device::Buffer tokens = on_device(x);
  const auto columns = static_cast<std::size_t>(c.n), inputs = static_cast<std::size_t>(c.k);
  std::vector<double> expected(static_cast<std::size_t>(most) * columns);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::size_t token = i / columns, row = i % columns;
    double sum = c.has_bias ? static_cast<double>(weight.bias[row]) : 0;
    for (std::size_t j = 0; j < inputs; ++j) {
      sum +=
          static_cast<double>(weight.dense[row * inputs + j]) * static_cast<double>(widen(type, x[token * inputs + j]));
    }
    expected[i] = sum;
  }
  const device::Buffer workspace =
      on_device(std::vector<std::uint8_t>(kernels::cuda::w4_workspace_bytes(weight.layout, most)));
  std::vector<std::uint16_t> first;
  for (const std::int64_t m : ms) {
    for (int index = 0; kernels::cuda::w4_kernel_names()[index] != nullptr; ++index) {
      const auto outputs = static_cast<std::size_t>(m) * columns;
      const device::Buffer y = on_device(std::vector<std::uint16_t>(outputs + 64, 0xFFFF));
      const W4Problem problem{.layout = weight.layout,
                              .type = type,
                              .weight = weight.stream.data(),
                              .bias = reinterpret_cast<const float*>(weight.bias_on_device.data()),
                              .x = tokens.data(),
                              .y = y.data(),
                              .m = m,
                              .workspace = workspace.data()};
      if (kernels::cuda::w4_kernel_objection(problem, index) != nullptr) {
        expect(index != kernels::cuda::w4_choice(problem),
               fmt::format("the choice for {} tokens of {} cannot run", m, name_of(c, type)));
        continue;
      }
      device::check(kernels::cuda::w4_linear(problem, nullptr, index), kernels::cuda::w4_kernel_names()[index]);
      ++runs[static_cast<std::size_t>(index)];
      const auto found = from_device<std::uint16_t>(y);
      if (first.empty()) first = found;
      double error = 0, norm = 0;
      std::size_t different = 0, beyond = 0;
      for (std::size_t i = 0; i < found.size(); ++i) {
        if (i >= outputs) {
          beyond += found[i] != 0xFFFF;
          continue;
        }
        const double v = static_cast<double>(widen(type, found[i])) - expected[i];
        error += v * v;
        norm += expected[i] * expected[i];
        different += found[i] != first[i];
      }
      const double relative = std::sqrt(error / norm);
      expect(relative <= kernels::cuda::w4_tolerance(type) && different == 0 && beyond == 0,
             fmt::format("{} with {} tokens of {}: error {:.2e}, {} other bits, {} beyond the end",
                         kernels::cuda::w4_kernel_names()[index], m, name_of(c, type), relative, different, beyond));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "emulated";
  device::open(device::parse_name(name));
  const bool has_bf16 = kernels::cuda::type_objection(Half::kBf16) == nullptr;
  std::vector<Half> types = {Half::kF16};
  if (has_bf16) types.push_back(Half::kBf16);
  for (const Half type : types) {
    for (const Case& c : {Case{136, 384, 32, true}, Case{200, 192, 64, false}, Case{128, 128, 128, true},
                          Case{24, 40, 40, true}, Case{300, 512, 256, false}}) {
      check_expansion(c, type);
    }
    check_products({200, 1792, 128, true}, type, {70, 1, 2, 3, 8, 9, 33});
    check_products({24, 320, 64, false}, type, {17, 1, 8});
    check_products({136, 160, 32, true}, type, {9, 1, 4});
    check_products({53, 448, 64, true}, type, {17, 3});
    check_products({24, 344, 344, false}, type, {5, 1});
    check_products({24, 6152, 6152, false}, type, {2, 1});  // eight leaves and a tail
    // Four leaves, an odd number of strips, a tail in K; also more tokens than the largest tile.
    check_products({300, 3136, 64, true}, type, {type == Half::kF16 ? 130 : 20});
    // Blocks of 11 tiles of 16 rows, of which the last has rows that are not there.
    check_products({2048, 1536, 128, false}, type, {2});
  }
  if (!has_bf16) {
    const W4Problem problem{.layout = {128, 128, 128}, .type = Half::kBf16, .m = 1};
    for (int index = 0; kernels::cuda::w4_kernel_names()[index] != nullptr; ++index) {
      expect(kernels::cuda::w4_kernel_objection(problem, index) != nullptr,
             fmt::format("kernel {} takes BF16, which the device does not multiply", index));
    }
  }
  std::string idle;
  for (int index = 0; kernels::cuda::w4_kernel_names()[index] != nullptr; ++index) {
    if (runs[static_cast<std::size_t>(index)] == 0) idle += fmt::format(" {}", kernels::cuda::w4_kernel_names()[index]);
  }
  fmt::print("kernels that did not run:{}\n", idle.empty() ? " none" : idle);
  expect(idle.empty() || name != "emulated90", "a kernel did not run on the device that has all instructions");
  fmt::print("{}: {} checks, {} failures\n", name, checks, failures);
  return failures == 0 ? 0 : 1;
}
