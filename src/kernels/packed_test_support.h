#pragma once

// Problems for the tests of packed kernels; free of GoogleTest, because the cross-compiled test has none.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/float16.h"
#include "base/random.h"
#include "kernels/api/packed.h"

namespace awq::kernels::test {

struct PackedShape {
  std::int64_t n, k, group_size;
  int bits;
};

inline float draw(std::uint64_t seed, std::int64_t i) {
  return static_cast<float>(uniform(seed, static_cast<std::uint64_t>(i)) * 2 - 1);
}

/// Inputs [m, k] of size 1, some of them forty times as large.
inline std::vector<float> random_inputs(std::int64_t m, std::int64_t k, std::uint64_t seed) {
  std::vector<float> x;
  for (std::int64_t i = 0; i < m * k; ++i) x.push_back(draw(seed, i) * (i % 37 == 5 ? 40.0F : 1.0F));
  return x;
}

/// Largest magnitude among the inputs that share a scale with input k of a row.
inline double largest_of_unit(const float* row, std::int64_t k, std::int64_t group_size) {
  const std::int64_t group = k / group_size * group_size;
  const std::int64_t begin = group + (k - group) / kUnitInputs * kUnitInputs;
  double largest = 0;
  for (std::int64_t i = begin; i < std::min(begin + kUnitInputs, group + group_size); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(row[i])));
  }
  return largest;
}

struct ActivationMemory {
  Activations x;
  AlignedBuffer<std::int8_t> codes;
  std::vector<float> scales, minus_sums;

  ActivationMemory(const PackedShape& shape, std::int64_t m, std::int64_t panel_rows, int planes, bool row_major,
                   const std::vector<float>& from, const ActivationQuantizer& quantizer) {
    x = {.m = m,
         .panel_rows = panel_rows,
         .k = shape.k,
         .group_size = shape.group_size,
         .planes = planes,
         .row_major = row_major};
    codes = AlignedBuffer<std::int8_t>(static_cast<std::size_t>(m * planes * x.padded_k()));
    scales.resize(static_cast<std::size_t>(m * x.scale_blocks()));
    minus_sums.resize(static_cast<std::size_t>(m * x.groups()));
    x.codes = codes.data();
    x.scales = scales.data();
    x.minus_sums = minus_sums.data();
    for (std::int64_t row = 0; row < m; ++row) quantizer.run(x, from.data(), row);
  }
  std::vector<std::int8_t> codes_copy() const { return {codes.begin(), codes.end()}; }
};

/// The same as a kernel wants them.
struct PreparedActivations {
  AlignedBuffer<std::int8_t> codes;
  std::vector<std::int32_t> minus_pairs;
  Activations x;

  PreparedActivations(const PackedKernel& kernel, const ActivationMemory& a)
      : codes(a.codes.size()), minus_pairs(a.scales.size()), x(a.x) {
    if (kernel.prepare == nullptr) return;
    std::copy(a.codes.begin(), a.codes.end(), codes.begin());
    x.codes = codes.data();
    x.minus_pairs = minus_pairs.data();
    for (std::int64_t p = 0; p < x.panels(); ++p) kernel.prepare(x, p);
  }
};

struct PackedProblem {
  PackedLayout layout;
  std::vector<std::uint8_t> codes, zero_points;
  std::vector<float> scales, bias;
  AlignedBuffer<std::uint8_t> weight;

  PackedProblem(const PackedShape& shape, bool half_scales, std::uint64_t seed) {
    layout = {.n = shape.n,
              .k = shape.k,
              .group_size = shape.group_size,
              .bits = static_cast<std::uint8_t>(shape.bits),
              .half_scales = half_scales};
    const std::uint64_t top = 1ULL << shape.bits;
    for (std::int64_t i = 0; i < shape.n * shape.k; ++i) {
      codes.push_back(static_cast<std::uint8_t>(random_bits(seed, static_cast<std::uint64_t>(i)) % top));
    }
    for (std::int64_t i = 0; i < shape.n * layout.groups(); ++i) {
      const float scale = 0.02F + 0.01F * draw(seed + 1, i);
      scales.push_back(half_scales ? to_float(to_f16(scale)) : scale);
      // The stored zero point + 1 of GPTQ may be 16.
      const std::uint64_t zeros = shape.bits == 4 ? 17 : 256;
      zero_points.push_back(static_cast<std::uint8_t>(random_bits(seed + 2, static_cast<std::uint64_t>(i)) % zeros));
    }
    for (std::int64_t i = 0; i < shape.n; ++i) bias.push_back(draw(seed + 3, i));
    weight = AlignedBuffer<std::uint8_t>(static_cast<std::size_t>(layout.bytes()));
    for (std::int64_t b = 0; b < layout.blocks(); ++b) pack_block(layout, source(), b, weight.data());
  }
  PackSource source() const { return {codes.data(), scales.data(), zero_points.data()}; }
  float value(std::int64_t n, std::int64_t k) const {
    const auto at = static_cast<std::size_t>(n * layout.groups() + k / layout.group_size);
    return scales[at] * static_cast<float>(codes[static_cast<std::size_t>(n * layout.k + k)] - zero_points[at]);
  }
  std::vector<float> run(const PackedKernel& kernel, const ActivationMemory& a, bool with_bias, int parts = 1) const {
    std::vector<float> y(static_cast<std::size_t>(a.x.m * layout.n), std::nanf("1"));
    const PreparedActivations prepared(kernel, a);
    const PackedArgs args{.layout = layout,
                          .weight = weight.data(),
                          .bias = with_bias ? bias.data() : nullptr,
                          .x = prepared.x,
                          .y = y.data()};
    const std::int64_t blocks = layout.blocks();
    const std::int64_t panels = a.x.panels();
    for (std::int64_t b = 0; b < parts; ++b) {
      for (std::int64_t p = 0; p < parts; ++p) {
        kernel.run(args, blocks * b / parts, blocks * (b + 1) / parts, panels * p / parts, panels * (p + 1) / parts);
      }
    }
    return y;
  }
  std::vector<float> run_float(const PackedFloatKernel& kernel, const std::vector<float>& x, std::int64_t m) const {
    std::vector<float> y(static_cast<std::size_t>(m * layout.n), std::nanf("1"));
    std::vector<float> sums;
    for (std::int64_t i = 0; i < m * layout.groups(); ++i) {
      float sum = 0;
      for (std::int64_t j = 0; j < layout.group_size; ++j)
        sum += x[static_cast<std::size_t>(i * layout.group_size + j)];
      sums.push_back(sum);
    }
    const PackedFloatArgs args{.layout = layout,
                               .weight = weight.data(),
                               .bias = bias.data(),
                               .m = m,
                               .x = x.data(),
                               .x_group_sums = sums.data(),
                               .y = y.data()};
    kernel.run(args, 0, layout.blocks());
    return y;
  }
};

}  // namespace awq::kernels::test
