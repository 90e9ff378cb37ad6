#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "ops/linear.h"
#include "quant/group_quant.h"
#include "support/random.h"
#include "tensor/convert.h"

namespace awq::ops {
namespace {

using test::random_floats;
using test::to_buffer;

constexpr std::size_t kOutputs = 150;
constexpr std::size_t kInputs = 320;

Linear make_linear(DType dtype) {
  const std::vector<float> weights = random_floats(1, kOutputs * kInputs);
  AlignedBuffer<std::byte> stored(weights.size() * dtype_bits(dtype) / 8);
  narrow_from_float(dtype, weights, stored.span());
  return Linear(kOutputs, kInputs, dtype, std::move(stored), to_buffer(random_floats(2, kOutputs)));
}

Linear make_quantized(int bits) {
  const std::vector<float> weights = random_floats(3, kOutputs * kInputs);
  const quant::Scheme scheme{.bits = bits, .group_size = 64};
  return Linear(quant::round_to_nearest(weights.data(), kOutputs, kInputs, scheme, DType::kF16),
                to_buffer(random_floats(4, kOutputs)));
}

/// Groups in an order of their own, as GPTQ's act-order leaves them.
Linear make_act_order(std::uint64_t seed) {
  const std::vector<float> weights = random_floats(seed, kOutputs * kInputs);
  quant::QuantizedTensor tensor =
      quant::round_to_nearest(weights.data(), kOutputs, kInputs, {.bits = 4, .group_size = 64}, DType::kF16);
  tensor.group_index = test::shuffled_groups(seed, kInputs, 64);
  return Linear(tensor, {});
}

TEST(LinearRows, EachRowAsIfItCameAlone) {
  const ActivationPrecision before = activation_precision();
  const std::array<Linear, 7> linears = {make_linear(DType::kF32), make_linear(DType::kBf16), make_linear(DType::kF16),
                                         make_act_order(6),        make_act_order(7),         make_quantized(4),
                                         make_quantized(8)};
  std::vector<const Linear*> all;
  for (const Linear& linear : linears) all.push_back(&linear);
  const std::vector<float> x = random_floats(5, 40 * kInputs);
  for (const ActivationPrecision precision :
       {ActivationPrecision::kF32, ActivationPrecision::kInt8, ActivationPrecision::kInt15}) {
    set_activation_precision(precision);
    for (const std::size_t m : {1U, 5U, 8U, 9U, 40U}) {
      std::vector<std::vector<float>> together(linears.size(), std::vector<float>(m * kOutputs));
      std::vector<float*> ys;
      for (std::vector<float>& y : together) ys.push_back(y.data());
      forward_rows_alike(all, x.data(), static_cast<std::int64_t>(m), ys);
      for (std::size_t i = 0; i < linears.size(); ++i) {
        for (std::size_t row = 0; row < m; ++row) {
          std::vector<float> alone(kOutputs);
          linears[i].forward(x.data() + row * kInputs, 1, alone.data());
          const auto begin = together[i].begin() + static_cast<std::ptrdiff_t>(row * kOutputs);
          ASSERT_TRUE(std::equal(alone.begin(), alone.end(), begin)) << "linear " << i << " row " << row << " of " << m;
        }
      }
    }
    // Those of one kind alone: with integers they share the rounded inputs.
    const std::span<const Linear* const> packed = std::span(all).last(2);
    std::vector<float> first(40 * kOutputs), second(40 * kOutputs), expected(40 * kOutputs);
    float* const ys[] = {first.data(), second.data()};
    forward_rows_alike(packed, x.data(), 40, ys);
    for (std::size_t row = 0; row < 40; ++row) {
      packed[1]->forward(x.data() + row * kInputs, 1, expected.data() + row * kOutputs);
    }
    EXPECT_EQ(second, expected);
  }
  set_activation_precision(before);
}

}  // namespace
}  // namespace awq::ops
