#include "kernels/api/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/float16.h"
#include "base/random.h"
#include "kernels/kv_scale.h"
#include "tolerances.h"

namespace awq::kernels {
namespace {

constexpr KvType kTypes[] = {KvType::kF32, KvType::kBf16, KvType::kF16, KvType::kInt8, KvType::kE4M3};

/// A layer of blocks in random order, filled with `tokens` random keys and values; places behind them hold NaN or, as
/// codes, anything.
struct Problem {
  KvLayout layout;
  std::int64_t heads = 2, head = 1, tokens = 0;
  std::vector<std::byte> pool;
  std::vector<std::int32_t> blocks;
  std::vector<float> keys, values;  ///< [tokens, head_dim] of `head`

  Problem(KvType type, std::int64_t head_dim, std::int64_t count, std::uint64_t seed)
      : layout{type, head_dim}, tokens(count) {
    const std::int64_t block_count = (count + kKvBlockTokens - 1) / kKvBlockTokens;
    pool.assign(static_cast<std::size_t>((block_count + 3) * heads * layout.head_bytes()), std::byte{0xFF});
    for (std::int64_t b = 0; b < block_count; ++b) blocks.push_back(static_cast<std::int32_t>(block_count + 2 - b));
    for (std::int64_t t = 0; t < count; ++t) {
      std::vector<float> k(static_cast<std::size_t>(head_dim)), v(k.size());
      for (std::size_t c = 0; c < k.size(); ++c) {
        k[c] = static_cast<float>(uniform(seed, static_cast<std::uint64_t>(t) * 1000 + c) * 2 - 1);
        v[c] = static_cast<float>(uniform(seed + 1, static_cast<std::uint64_t>(t) * 1000 + c) * 2 - 1);
      }
      std::byte* block = at_block(t);
      store_kv(layout, block, t, k.data(), v.data());
      if (layout.padded_dim() > head_dim) clear_padding(block, t);
      keys.insert(keys.end(), k.begin(), k.end());
      values.insert(values.end(), v.begin(), v.end());
    }
  }
  std::byte* at_block(std::int64_t t) {
    return pool.data() + (blocks[static_cast<std::size_t>(t / kKvBlockTokens)] * heads + head) * layout.head_bytes();
  }
  /// The pool of an engine starts zeroed.
  void clear_padding(std::byte* block, std::int64_t t) {
    const std::int64_t bytes = kv_element_bytes(layout.type);
    for (std::int64_t c = layout.head_dim; c < layout.padded_dim(); ++c) {
      std::byte* at = block + layout.value_offset() + layout.value_element(t % kKvBlockTokens, c) * bytes;
      std::fill(at, at + bytes, std::byte{0});
    }
  }
};

struct Result {
  std::vector<float> largest, sum, out;
  bool operator==(const Result&) const = default;
};

/// Rows at the given positions; window 0: everything before.
Result run(const AttentionKernel& kernel, Problem& p, const std::vector<std::int64_t>& positions, std::int64_t window,
           std::int64_t key_begin, const std::vector<float>& q) {
  const std::size_t rows = positions.size();
  Result out{std::vector<float>(rows), std::vector<float>(rows),
             std::vector<float>(rows * static_cast<std::size_t>(p.layout.padded_dim()))};
  std::vector<std::int64_t> first, last;
  for (const std::int64_t position : positions) {
    first.push_back(window > 0 ? std::max<std::int64_t>(0, position + 1 - window) : 0);
    last.push_back(position + 1);
  }
  std::vector<float> scores(rows * kAttentionStep, std::nanf(""));
  std::vector<std::uint16_t> pairs(static_cast<std::size_t>(attention_pairs(p.layout)), 0xFFFF);
  kernel.run({.layout = p.layout,
              .head = p.pool.data() + p.head * p.layout.head_bytes(),
              .block_bytes = p.heads * p.layout.head_bytes(),
              .blocks = p.blocks.data(),
              .rows = static_cast<std::int64_t>(rows),
              .q = q.data(),
              .first = first.data(),
              .last = last.data(),
              .key_begin = key_begin,
              .key_end = last.back(),
              .largest = out.largest.data(),
              .sum = out.sum.data(),
              .out = out.out.data(),
              .scores = scores.data(),
              .pairs = pairs.data()});
  return out;
}

std::vector<float> random_q(std::size_t rows, std::int64_t dim, std::uint64_t seed) {
  std::vector<float> q(rows * static_cast<std::size_t>(dim));
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(uniform(seed, i) * 4 - 2);
  return q;
}

std::vector<const AttentionKernel*> runnable() {
  std::vector<const AttentionKernel*> out;
  for (const AttentionKernel* k = attention_kernels_cpu(); k->name != nullptr; ++k) {
    if (k->min_isa > static_cast<std::uint8_t>(active_isa()) || (k->rounds_to_bf16 && !has_native_bf16())) continue;
    out.push_back(k);
  }
  return out;
}

/// exp(largest) times a row's sum and its outputs: what a softmax is made of, whatever `largest` was rounded to.
std::vector<double> softmax(const Result& result, std::size_t row, std::size_t dim) {
  std::vector<double> out;
  for (std::size_t c = 0; c < dim; ++c) out.push_back(result.out[row * dim + c] / result.sum[row]);
  out.push_back(result.largest[row] + std::log(static_cast<double>(result.sum[row])));
  return out;
}

void expect_rounded(const AttentionKernel& kernel, const Result& got, const Result& expected, std::size_t dim) {
  for (std::size_t row = 0; row < got.sum.size(); ++row) {
    ASSERT_EQ(std::isinf(got.largest[row]), std::isinf(expected.largest[row])) << kernel.name;
    if (std::isinf(expected.largest[row])) continue;  // sees nothing
    const std::vector<double> a = softmax(got, row, dim), b = softmax(expected, row, dim);
    for (std::size_t c = 0; c < a.size(); ++c) ASSERT_NEAR(a[c], b[c], tolerance::kAttentionRounded) << kernel.name;
  }
}

TEST(AttentionKernels, AllRowsGiveTheSameBits) {
  const std::vector<const AttentionKernel*> kernels = runnable();
  const AttentionKernel& reference = *kernels.back();
  std::uint64_t seed = 0;
  for (const KvType type : kTypes) {
    for (const std::int64_t dim : {8, 16, 20, 64, 80}) {
      for (const std::int64_t tokens : {1, 15, 64, 130}) {
        Problem p(type, dim, tokens, seed += 10);
        for (const std::int64_t window : {0, 7, 100}) {
          for (const std::size_t rows : {1U, 2U, 3U, 6U, 9U, 32U}) {
            // Rows end with the last token; several of one position, as the heads of a group are.
            std::vector<std::int64_t> positions(rows);
            for (std::size_t r = 0; r < rows; ++r) {
              const auto back = static_cast<std::int64_t>((rows - 1 - r) / 3);
              positions[r] = std::max<std::int64_t>(0, tokens - 1 - back);
            }
            const std::int64_t begin = tokens > 128 && window == 100 ? 64 : 0;
            const std::vector<float> q = random_q(rows, dim, seed + rows);
            const Result expected = run(reference, p, positions, window, begin, q);
            const auto padded = static_cast<std::size_t>(p.layout.padded_dim());
            // A row alone, to be compared with what it gives among others.
            const std::size_t r = rows / 2;
            const auto width = static_cast<std::size_t>(dim);
            const std::vector<float> q_alone(q.begin() + static_cast<std::ptrdiff_t>(r * width),
                                             q.begin() + static_cast<std::ptrdiff_t>((r + 1) * width));
            for (const AttentionKernel* kernel : kernels) {
              const Result got = run(*kernel, p, positions, window, begin, q);
              if (kernel->rounds_to_bf16) {
                expect_rounded(*kernel, got, expected, padded);
              } else {
                ASSERT_EQ(got.largest, expected.largest) << kernel->name << " dim " << dim << " tokens " << tokens;
                ASSERT_EQ(got.sum, expected.sum) << kernel->name << " dim " << dim << " tokens " << tokens;
                ASSERT_EQ(got.out, expected.out) << kernel->name << " dim " << dim << " tokens " << tokens;
              }
              const Result alone = run(*kernel, p, {positions[r]}, window, begin, q_alone);
              ASSERT_EQ(alone.largest[0], got.largest[r]) << kernel->name;
              ASSERT_EQ(alone.sum[0], got.sum[r]) << kernel->name;
              for (std::size_t c = 0; c < padded; ++c) {
                ASSERT_EQ(alone.out[c], got.out[r * padded + c])
                    << kernel->name << " type " << static_cast<int>(type) << " dim " << dim << " tokens " << tokens
                    << " rows " << rows << " window " << window << " channel " << c;
              }
            }
          }
        }
      }
    }
  }
}

TEST(AttentionKernels, ReferenceIsSoftmaxOfWhatIsStored) {
  for (const KvType type : kTypes) {
    const std::int64_t dim = 24, tokens = 100;
    Problem p(type, dim, tokens, 77);
    const std::vector<float> q = random_q(1, dim, 5);
    const Result got = run(*runnable().back(), p, {tokens - 1}, 0, 0, q);
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      double score = 0;
      for (std::int64_t c = 0; c < dim; ++c) {
        score += static_cast<double>(q[static_cast<std::size_t>(c)]) * p.keys[static_cast<std::size_t>(t * dim + c)];
      }
      sum += weights.emplace_back(std::exp(score));
    }
    for (std::int64_t c = 0; c < dim; ++c) {
      double expected = 0;
      for (std::int64_t t = 0; t < tokens; ++t) {
        expected += weights[static_cast<std::size_t>(t)] / sum * p.values[static_cast<std::size_t>(t * dim + c)];
      }
      const double bound = type == KvType::kF32    ? tolerance::kAttention
                           : type == KvType::kF16  ? tolerance::kAttentionF16
                           : type == KvType::kBf16 ? tolerance::kAttentionBf16
                           : type == KvType::kInt8 ? tolerance::kAttentionInt8
                                                   : tolerance::kAttentionE4M3;
      EXPECT_NEAR(got.out[static_cast<std::size_t>(c)] / got.sum[0], expected, bound) << static_cast<int>(type);
    }
  }
}

TEST(AttentionKernels, ANanIsNotHidden) {
  for (const KvType type : kTypes) {
    Problem p(type, 16, 40, 3);
    std::vector<float> bad(16, 1.0F);
    bad[3] = std::nanf("");
    store_kv(p.layout, p.at_block(20), 20, bad.data(), bad.data());
    for (const AttentionKernel* kernel : runnable()) {
      const Result got = run(*kernel, p, {39}, 0, 0, random_q(1, 16, 9));
      EXPECT_TRUE(std::isnan(got.out[3] / got.sum[0])) << kernel->name << " type " << static_cast<int>(type);
      // Queries before the token do not see it.
      const Result before = run(*kernel, p, {19}, 0, 0, random_q(1, 16, 9));
      EXPECT_TRUE(std::isfinite(before.out[3] / before.sum[0])) << kernel->name;
    }
  }
}

/// By search over all powers of two; the limits are those within which F16 holds every code times its scale.
TEST(AttentionKernels, E4M3ScaleIsTheSmallestThatHoldsTheRow) {
  for (int i = -400; i <= 400; ++i) {
    const float most = std::exp2(static_cast<float>(i) / 16) * (i % 3 == 0 ? 1.0F : 1.0101F);
    const float scale = e4m3_row_scale(most);
    float expected = 0x1p-14F;
    while (expected < 0x1p7F && most > 448 * expected) expected *= 2;
    EXPECT_EQ(scale, expected) << most;
    for (const float x : {most, -most, most / 3, 0.0F}) {
      const float back = to_float(e4m3_code(x, scale)) * scale;
      if (std::fabs(x) <= 448 * scale) {
        EXPECT_LE(std::fabs(back - x), std::fabs(x) / 16 + scale * 0x1p-10F) << x;
      } else {
        EXPECT_EQ(std::fabs(back), 57344) << x;
      }
      EXPECT_EQ(to_float(to_f16(back)), back);
      EXPECT_EQ(to_float(to_bf16(back)), back);
    }
  }
  EXPECT_EQ(e4m3_row_scale(448), 1);
  EXPECT_EQ(e4m3_row_scale(std::nextafter(448.0F, 1e3F)), 2);
  EXPECT_EQ(e4m3_row_scale(0), 0x1p-14F);
  EXPECT_TRUE(std::isnan(e4m3_row_scale(INFINITY)));
  EXPECT_TRUE(std::isnan(e4m3_row_scale(std::nanf(""))));
}

TEST(AttentionKernels, ExpIsWithinItsBound) {
  for (int i = 0; i < 87000; ++i) {
    const float x = -static_cast<float>(i) * 1e-3F;
    EXPECT_NEAR(exp_nonpositive(x) / std::exp(static_cast<double>(x)), 1, 0x1p-22) << x;
  }
  EXPECT_EQ(exp_nonpositive(0), 1);
  EXPECT_EQ(exp_nonpositive(-87.5F), 0);
  EXPECT_EQ(exp_nonpositive(-INFINITY), 0);
  EXPECT_TRUE(std::isnan(exp_nonpositive(std::nanf(""))));
}

}  // namespace
}  // namespace awq::kernels
