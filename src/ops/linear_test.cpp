#include "ops/linear.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <vector>

#include "base/cpu_features.h"
#include "ops/parallel.h"
#include "quant/group_quant.h"
#include "support/random.h"
#include "tensor/convert.h"
#include "tolerances.h"

namespace awq::ops {
namespace {

using test::random_floats;
using test::to_buffer;

/// y = x W^T + bias in binary64, with the sum of magnitudes that bounds the rounding errors.
struct Expected {
  std::vector<double> y, magnitude;
};
Expected multiply(const std::vector<float>& x, const std::vector<float>& w, const std::vector<float>& bias,
                  std::size_t m, std::size_t n, std::size_t k) {
  Expected out{std::vector<double>(m * n), std::vector<double>(m * n)};
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      double sum = bias.empty() ? 0 : bias[j];
      double magnitude = std::fabs(sum);
      for (std::size_t p = 0; p < k; ++p) {
        const double product = static_cast<double>(x[i * k + p]) * w[j * k + p];
        sum += product;
        magnitude += std::fabs(product);
      }
      out.y[i * n + j] = sum;
      out.magnitude[i * n + j] = magnitude;
    }
  }
  return out;
}

double dot_bound(double magnitude, std::size_t k) {
  return magnitude * 0x1p-24 * (tolerance::kDotSigmas * std::sqrt(static_cast<double>(k)) + tolerance::kDotFloor);
}

void expect_forward(const Linear& linear, const std::vector<float>& weights, const std::vector<float>& bias,
                    double extra_per_magnitude, Precision precision, const char* name, double input_step = 0) {
  const std::size_t n = linear.out_features();
  const std::size_t k = linear.in_features();
  constexpr std::size_t kMost = 40;
  const std::vector<float> x = random_floats(k, kMost * k);
  const Expected expected = multiply(x, weights, bias, kMost, n, k);
  for (std::size_t m = 1; m <= kMost; ++m) {
    std::vector<float> y(m * n, std::nanf(""));
    linear.forward(x.data(), static_cast<std::int64_t>(m), y.data(), precision);
    for (std::size_t i = 0; i < y.size(); ++i) {
      double bound = dot_bound(expected.magnitude[i], k) + extra_per_magnitude * expected.magnitude[i];
      for (std::size_t p = 0; p < k && input_step > 0; ++p) {
        bound += tolerance::kHalfStep * input_step * std::fabs(weights[i % n * k + p]);
      }
      ASSERT_NEAR(y[i], expected.y[i], bound) << name << " m " << m << " n " << n << " k " << k << " at " << i;
    }
  }
}

struct Shape {
  std::size_t n, k;
};
constexpr Shape kShapes[] = {{1, 32}, {7, 96}, {33, 172}, {300, 64}, {64, 384}};

TEST(Linear, DenseForwardOfAllTypes) {
  for (const Shape& shape : kShapes) {
    for (const bool with_bias : {false, true}) {
      const std::vector<float> bias = with_bias ? random_floats(9, shape.n) : std::vector<float>();
      for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
        std::vector<float> weights = random_floats(shape.n, shape.n * shape.k);
        AlignedBuffer<std::byte> stored(weights.size() * dtype_bits(dtype) / 8);
        narrow_from_float(dtype, weights, stored.span());
        widen_to_float(dtype, stored.span(), weights);
        const Linear linear(shape.n, shape.k, dtype, std::move(stored), to_buffer(bias));
        EXPECT_EQ(linear.dtype(), dtype);
        expect_forward(linear, weights, bias, 0, Precision::kF32, "dense");
        const bool rounds = dtype == DType::kBf16 && has_native_bf16();
        expect_forward(linear, weights, bias, rounds ? tolerance::kBf16Product : 0, Precision::kBf16, "dense bf16");
        const ActivationPrecision before = activation_precision();
        set_activation_precision(ActivationPrecision::kInt8);  // of the two factors the weights are bf16 already
        EXPECT_EQ(linear.row_invariant(), rounds);
        expect_forward(linear, weights, bias, rounds ? tolerance::kBf16Product / 2 : 0, Precision::kF32, "dense int8");
        set_activation_precision(before);
      }
    }
  }
}

TEST(Linear, QuantizedForwardOfAllWidths) {
  for (const Shape& shape : kShapes) {
    for (const int bits : {2, 3, 4, 8}) {
      for (const std::int64_t group_size : {std::int64_t{32}, std::int64_t{64}, std::int64_t{-1}}) {
        const quant::Scheme scheme{.bits = bits, .group_size = group_size};
        if (shape.k % quant::resolved_group_size(scheme, shape.k) != 0) continue;
        const std::vector<float> source = random_floats(shape.k, shape.n * shape.k);
        const auto tensor = quant::round_to_nearest(source.data(), shape.n, shape.k, scheme, DType::kF16);
        std::vector<float> weights(source.size());
        quant::dequantize(tensor, weights.data());
        const std::vector<float> bias = random_floats(10, shape.n);
        const Linear linear(tensor, to_buffer(bias));
        // The kernel subtracts zero_point * sum(x) at the end, so the codes themselves, up to 2^bits / |w| times as
        // large as the weights, are what is rounded; for 4 bits and less that is below 16 times the floor.
        expect_forward(linear, weights, bias, tolerance::kCodeProducts, Precision::kF32, "u4");
        expect_forward(linear, weights, bias, tolerance::kCodeProducts, Precision::kBf16, "u4 bf16");
      }
    }
  }
}

TEST(Linear, GroupIndexAndZeroPointSixteen) {
  // What GPTQ files may hold: groups out of order, and a stored zero point of 15 that means 16.
  quant::QuantizedTensor tensor = quant::make_tensor(5, 64, {.bits = 4, .group_size = 32}, DType::kF16);
  for (std::size_t i = 0; i < tensor.codes.size(); ++i)
    tensor.codes[i] = static_cast<std::uint8_t>(random_bits(1, i) % 16);
  for (std::size_t i = 0; i < tensor.scales.size(); ++i) {
    tensor.scales[i] = 0.1F * static_cast<float>(i + 1);
    tensor.zero_points[i] = static_cast<std::uint8_t>(i % 2 == 0 ? 16 : 3);
  }
  for (const bool with_index : {false, true}) {
    if (with_index) {
      for (std::int32_t k = 0; k < 64; ++k) tensor.group_index.push_back(k % 2);
    }
    std::vector<float> weights(5 * 64);
    quant::dequantize(tensor, weights.data());
    expect_forward(Linear(tensor, {}), weights, {}, tolerance::kCodeProducts, Precision::kF32, "gptq");
  }
}

TEST(Linear, ActOrder) {
  constexpr std::size_t kRows = 33;
  constexpr std::size_t kWidth = 256;
  for (const std::size_t size : {std::size_t{32}, std::size_t{64}, std::size_t{128}}) {
    const std::vector<float> source = random_floats(size, kRows * kWidth);
    quant::QuantizedTensor tensor = quant::round_to_nearest(
        source.data(), kRows, kWidth, {.bits = 4, .group_size = static_cast<std::int64_t>(size)}, DType::kF16);
    for (const bool equal_sizes : {true, false}) {
      tensor.group_index = test::shuffled_groups(size, kWidth, size);
      if (!equal_sizes) tensor.group_index[0] = (tensor.group_index[0] + 1) % static_cast<std::int32_t>(kWidth / size);
      std::vector<float> weights(kRows * kWidth);
      quant::dequantize(tensor, weights.data());
      const Linear linear(tensor, to_buffer(random_floats(3, kRows)));
      EXPECT_EQ(linear.quantized(), equal_sizes);
      expect_forward(linear, weights, random_floats(3, kRows), equal_sizes ? tolerance::kCodeProducts : 0,
                     Precision::kF32, "act-order");
      std::vector<float> rows(2 * kWidth);
      linear.expand_rows(4, 6, rows.data());
      EXPECT_TRUE(std::equal(rows.begin(), rows.end(), weights.begin() + 4 * kWidth));
    }
  }
}

TEST(Linear, ExpandRowsIsTheDefinition) {
  const std::vector<float> source = random_floats(4, 9 * 96);
  const auto tensor = quant::round_to_nearest(source.data(), 9, 96, {.bits = 4, .group_size = 32}, DType::kBf16);
  std::vector<float> expected(source.size());
  quant::dequantize(tensor, expected.data());
  const Linear linear(tensor, {});
  std::vector<float> rows(3 * 96);
  linear.expand_rows(2, 5, rows.data());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], expected[2 * 96 + i]);
}

TEST(Linear, WeightsComeBack) {
  const std::vector<float> weights = random_floats(1, 6);
  AlignedBuffer<std::byte> stored(weights.size() * sizeof(float));
  narrow_from_float(DType::kF32, weights, stored.span());
  Linear linear(2, 3, DType::kF32, std::move(stored), to_buffer(std::vector<float>{1, 2}));
  EXPECT_FALSE(linear.empty());
  EXPECT_EQ(linear.resident_bytes(), 6 * sizeof(float) + 2 * sizeof(float));
  std::vector<float> back(6);
  widen_to_float(DType::kF32, linear.take_weight().span(), back);
  EXPECT_EQ(back, weights);
  EXPECT_EQ(linear.take_bias().size(), 2U);
  EXPECT_TRUE(Linear().empty());
}

/// Restores the setting of the process.
struct WithPrecision {
  explicit WithPrecision(ActivationPrecision precision) { set_activation_precision(precision); }
  ~WithPrecision() { set_activation_precision(ActivationPrecision::kF32); }
};

TEST(Linear, IntegerActivationsErrHalfAStepOfTheirUnit) {
  for (const ActivationPrecision precision : {ActivationPrecision::kInt8, ActivationPrecision::kInt15}) {
    const WithPrecision with(precision);
    const double steps =
        2 * (precision == ActivationPrecision::kInt8 ? kernels::kLargestActivation : kernels::kLargestWideActivation);
    for (const Shape& shape : kShapes) {
      for (const int bits : {3, 4, 8}) {
        const quant::Scheme scheme{.bits = bits, .group_size = -1};
        const std::vector<float> source = random_floats(shape.k, shape.n * shape.k);
        const auto tensor = quant::round_to_nearest(source.data(), shape.n, shape.k, scheme, DType::kF16);
        std::vector<float> weights(source.size());
        quant::dequantize(tensor, weights.data());
        const std::vector<float> bias = random_floats(10, shape.n);
        // Inputs are below 1, so a step is at most 2 / steps, and the error at most 1 / steps times the weight.
        expect_forward(Linear(tensor, to_buffer(bias)), weights, bias, tolerance::kCodeProducts, Precision::kF32,
                       "integer", 2 / steps);
      }
    }
  }
}

TEST(Linear, TogetherIsTheSameAsOneByOne) {
  const std::vector<float> source = random_floats(3, 200 * 128);
  const auto tensor = [&](std::size_t n, int bits, std::int64_t group_size) {
    return quant::round_to_nearest(source.data(), n, 128, {.bits = bits, .group_size = group_size}, DType::kF16);
  };
  const Linear q(tensor(200, 4, 64), to_buffer(random_floats(1, 200)));
  const Linear k(tensor(17, 8, 64), {});
  const Linear v(tensor(40, 4, 32), {});  // other groups: cannot share the rounding
  AlignedBuffer<std::byte> dense(9 * 128 * sizeof(float));
  narrow_from_float(DType::kF32, {source.data(), 9 * 128}, dense.span());
  const Linear plain(9, 128, DType::kF32, std::move(dense), {});
  const std::vector<float> x = random_floats(5, 100 * 128);
  for (const ActivationPrecision precision :
       {ActivationPrecision::kF32, ActivationPrecision::kInt8, ActivationPrecision::kInt15}) {
    const WithPrecision with(precision);
    for (const std::vector<const Linear*>& set :
         {std::vector<const Linear*>{&q}, {&q, &k}, {&q, &k, &v}, {&q, &plain}, {&plain}}) {
      for (const std::int64_t m : {1, 2, 5, 70, 100}) {
        std::vector<std::vector<float>> outs;
        std::vector<float*> ys;
        for (const Linear* linear : set) outs.emplace_back(static_cast<std::size_t>(m) * linear->out_features());
        for (std::vector<float>& out : outs) ys.push_back(out.data());
        forward_together(set, x.data(), m, ys);
        for (std::size_t i = 0; i < set.size(); ++i) {
          std::vector<float> alone(outs[i].size());
          set[i]->forward(x.data(), m, alone.data());
          EXPECT_EQ(outs[i], alone) << "m " << m << " linear " << i;
        }
      }
    }
  }
}

TEST(Linear, IntegerResultsDependOnNeitherBatchNorThreads) {
  const WithPrecision with(ActivationPrecision::kInt8);
  const std::vector<float> source = random_floats(3, 330 * 256);
  const Linear linear(quant::round_to_nearest(source.data(), 330, 256, {.bits = 4, .group_size = 128}, DType::kF16),
                      {});
  constexpr std::int64_t kRows = 100;
  const std::vector<float> x = random_floats(6, kRows * 256);
  std::vector<float> whole(kRows * 330);
  const int threads = omp_get_max_threads();
  linear.forward(x.data(), kRows, whole.data());
  for (const int count : {1, 2, 5}) {
    omp_set_num_threads(count);
    for (const std::int64_t m : {1, 3, 8, 50}) {
      std::vector<float> part(static_cast<std::size_t>(m) * 330);
      linear.forward(x.data() + 40 * 256, m, part.data());
      for (std::size_t i = 0; i < part.size(); ++i) ASSERT_EQ(part[i], whole[40 * 330 + i]) << count << " threads";
    }
  }
  omp_set_num_threads(threads);
}

TEST(Linear, RoundedToInt8IsWithinHalfAStep) {
  for (const std::size_t k : {std::size_t{128}, std::size_t{192}, std::size_t{96}, std::size_t{50}}) {
    for (const DType dtype : {DType::kF32, DType::kBf16}) {
      constexpr std::size_t kOut = 300;  // more than a slice
      std::vector<float> weights = random_floats(k, kOut * k);
      AlignedBuffer<std::byte> stored(weights.size() * dtype_bits(dtype) / 8);
      narrow_from_float(dtype, weights, stored.span());
      widen_to_float(dtype, stored.span(), weights);
      const Linear dense(kOut, k, dtype, std::move(stored), to_buffer(random_floats(2, kOut)));
      const Linear rounded = dense.rounded_to_int8();
      ASSERT_TRUE(rounded.quantized());
      std::vector<float> back(weights.size());
      rounded.expand_rows(0, kOut, back.data());
      for (std::size_t i = 0; i < back.size(); ++i) {
        ASSERT_NEAR(back[i], weights[i], tolerance::kHalfStep * 2 / 255);  // weights below 1, steps of 2 / 255
      }
      expect_forward(rounded, back, random_floats(2, kOut), 16 * tolerance::kCodeProducts, Precision::kF32, "head");
    }
  }
}

TEST(Linear, ThreadsShareAllBlocks) {
  for (const std::int64_t blocks : {1, 3, 16, 40, 129}) {
    for (const int threads : {1, 2, 3, 8, 64}) {
      std::int64_t next = 0;
      for (int t = 0; t < threads; ++t) {
        const BlockRange range = thread_blocks(blocks, t, threads);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.end, range.begin);
        next = range.end;
      }
      EXPECT_EQ(next, blocks);
    }
  }
}

TEST(Linear, ThreadsShareAllRows) {
  for (const std::int64_t rows : {1, 24, 25, 1000, 32000}) {
    for (const int threads : {1, 2, 3, 8, 64}) {
      std::int64_t next = 0;
      for (int t = 0; t < threads; ++t) {
        const BlockRange range = thread_rows(rows, t, threads);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.end, range.begin);
        EXPECT_TRUE(range.end == rows || range.end % 24 == 0) << "a tile of outputs lies in one range";
        EXPECT_LE(range.end - range.begin, rows / threads + 48);
        next = range.end;
      }
      EXPECT_EQ(next, rows);
    }
  }
}

TEST(Linear, SelectionNamesTheReasonOfEachRow) {
  for (const int bits : {4, 8}) {
    for (const int planes : {1, 2}) {
      for (const std::int64_t m : {1, 100}) {
        const kernels::PackedKernel& chosen = select_packed(bits, planes, m);
        EXPECT_EQ(packed_objection(chosen), nullptr);
        EXPECT_EQ(chosen.bits, bits);
        EXPECT_EQ(chosen.planes, planes);
        for (const kernels::PackedKernel* row = kernels::packed_kernels_cpu(); row->name != chosen.name; ++row) {
          if (row->bits != bits || row->planes != planes || m < row->min_rows) continue;
          EXPECT_NE(packed_objection(*row), nullptr) << row->name;
        }
      }
    }
  }
}

TEST(Linear, Float8WeightsAreExpanded) {
  const quant::Scheme scheme{.bits = 8, .group_size = -1, .symmetric = true, .kind = quant::CodeKind::kE4M3};
  const std::vector<float> w = random_floats(3, std::size_t{24} * 64);
  const quant::QuantizedTensor tensor = quant::round_to_nearest(w.data(), 24, 64, scheme, DType::kF32);
  std::vector<float> stored(w.size());
  quant::dequantize(tensor, stored.data());
  expect_forward(Linear(tensor, {}), stored, {}, tolerance::kBf16Weight, Precision::kF32, "float8");
}

}  // namespace
}  // namespace awq::ops
