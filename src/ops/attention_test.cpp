#include "ops/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "ops/activation_precision.h"
#include "support/random.h"
#include "tolerances.h"

namespace awq::ops {
namespace {

/// A sequence with memory of its own; its blocks lie in reverse order.
struct Sequence {
  std::vector<float> q, keys, values, out;
  AlignedBuffer<std::byte> pool;
  std::vector<std::int32_t> blocks;
  AttentionSequence view;

  Sequence(const AttentionShape& shape, std::int64_t queries, std::int64_t key_count, std::uint64_t seed,
           kernels::KvType type = kernels::KvType::kF32) {
    const auto q_size = static_cast<std::size_t>(queries * shape.num_heads * shape.head_dim);
    const auto kv_size = static_cast<std::size_t>(key_count * shape.num_kv_heads * shape.head_dim);
    q = test::random_floats(seed, q_size, 4);
    keys = test::random_floats(seed + 1, kv_size);
    values = test::random_floats(seed + 2, kv_size);
    out.assign(q_size, std::nanf(""));
    KvView cache{.layout = {type, shape.head_dim}, .num_kv_heads = shape.num_kv_heads};
    blocks.resize(static_cast<std::size_t>((key_count + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens));
    std::iota(blocks.rbegin(), blocks.rend(), 0);
    pool = AlignedBuffer<std::byte>(blocks.size() * static_cast<std::size_t>(cache.block_bytes()));
    cache.data = pool.data();
    // In two pieces, as a prompt and its continuation come.
    const std::int64_t half = key_count / 2;
    store_kv(cache, blocks.data(), 0, half, keys.data(), values.data());
    const std::int64_t at = half * shape.num_kv_heads * shape.head_dim;
    store_kv(cache, blocks.data(), half, key_count - half, keys.data() + at, values.data() + at);
    view = {.q = q.data(),
            .out = out.data(),
            .cache = cache,
            .blocks = blocks.data(),
            .query_count = queries,
            .past = key_count - queries};
  }
};

/// The definition, in binary64.
void expect_attention(const Sequence& s, const AttentionShape& shape) {
  const std::int64_t d = shape.head_dim;
  for (std::int64_t i = 0; i < s.view.query_count; ++i) {
    const std::int64_t position = s.view.past + i;
    const std::int64_t first = shape.window > 0 ? std::max<std::int64_t>(0, position + 1 - shape.window) : 0;
    for (std::int64_t h = 0; h < shape.num_heads; ++h) {
      const std::int64_t kv = h / (shape.num_heads / shape.num_kv_heads);
      const float* q = s.q.data() + (i * shape.num_heads + h) * d;
      std::vector<double> weights;
      for (std::int64_t j = first; j <= position; ++j) {
        double score = 0;
        for (std::int64_t c = 0; c < d; ++c) {
          score += static_cast<double>(q[c]) * s.keys[static_cast<std::size_t>((j * shape.num_kv_heads + kv) * d + c)];
        }
        weights.push_back(score * shape.scale);
      }
      const double largest = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& w : weights) sum += w = std::exp(w - largest);
      for (std::int64_t c = 0; c < d; ++c) {
        double expected = 0;
        for (std::size_t j = 0; j < weights.size(); ++j) {
          const auto row = static_cast<std::size_t>(first) + j;
          expected += weights[j] / sum *
                      s.values[(row * static_cast<std::size_t>(shape.num_kv_heads) + static_cast<std::size_t>(kv)) *
                                   static_cast<std::size_t>(d) +
                               static_cast<std::size_t>(c)];
        }
        ASSERT_NEAR(s.out[static_cast<std::size_t>((i * shape.num_heads + h) * d + c)], expected, tolerance::kAttention)
            << "query " << i << " head " << h << " channel " << c;
      }
    }
  }
}

AttentionShape shape_of(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t window) {
  return {.num_heads = heads,
          .num_kv_heads = kv_heads,
          .head_dim = head_dim,
          .scale = 1.0F / std::sqrt(static_cast<float>(head_dim)),
          .window = window};
}

TEST(Attention, MatchesTheDefinition) {
  std::uint64_t seed = 0;
  AttentionScratch scratch;
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {4, 2}, {6, 1}, {3, 3}, {40, 1}}) {
    for (const int head_dim : {8, 16, 24}) {
      for (const int window : {0, 1, 5, 100}) {
        const AttentionShape shape = shape_of(heads, kv_heads, head_dim, window);
        // A whole prompt, one longer than a tile of queries, decoding, and a chunk after a past.
        std::vector<Sequence> sequences;
        for (const auto& [queries, keys] : {std::pair{1, 1}, {7, 7}, {70, 70}, {1, 40}, {9, 33}}) {
          sequences.emplace_back(shape, queries, keys, seed += 10);
        }
        std::vector<AttentionSequence> batch;
        for (const Sequence& s : sequences) batch.push_back(s.view);
        attention(batch, shape, scratch);
        for (const Sequence& s : sequences) expect_attention(s, shape);
      }
    }
  }
}

TEST(Attention, PartsOfLongTextsAreJoined) {
  AttentionScratch scratch;
  for (const int window : {0, 700}) {
    const AttentionShape shape = shape_of(2, 1, 8, window);
    Sequence s(shape, 40, 1100, 5);
    attention({&s.view, 1}, shape, scratch);
    expect_attention(s, shape);
  }
}

TEST(Attention, AQueryDependsOnItsSequenceAlone) {
  // Alone, with all the queries before it, beside others, on one thread and on two: the same bits. With activations of
  // 8 bits the kernel is one that rounds, where the processor can.
  const int threads = omp_get_max_threads();
  struct Case {
    kernels::KvType type;
    ActivationPrecision precision;
  };
  using enum kernels::KvType;
  const ActivationPrecision before = activation_precision();
  for (const auto& [type, precision] : {Case{kF32, ActivationPrecision::kF32},
                                        {kInt8, ActivationPrecision::kF32},
                                        {kBf16, ActivationPrecision::kInt8},
                                        {kInt8, ActivationPrecision::kInt8}}) {
    set_activation_precision(precision);
    for (const std::int64_t window : {0, 300}) {
      const AttentionShape shape = shape_of(6, 2, 16, window);
      constexpr std::int64_t kTokens = 1300;
      Sequence whole(shape, kTokens, kTokens, 50, type);
      AttentionScratch scratch;
      attention({&whole.view, 1}, shape, scratch);
      for (const int team : {1, 2}) {
        omp_set_num_threads(team);
        Sequence others(shape, 3, 30, 60, type);
        for (const std::int64_t position : {0L, 15L, 16L, 511L, 512L, 700L, 1299L}) {
          const std::int64_t width = shape.num_heads * shape.head_dim;
          std::vector<float> out(static_cast<std::size_t>(width));
          AttentionSequence one = whole.view;
          one.q += position * width;
          one.out = out.data();
          one.query_count = 1;
          one.past = position;
          const AttentionSequence batch[] = {others.view, one};
          attention(std::span(batch).last(position % 2 == 0 ? 1 : 2), shape, scratch);
          for (std::int64_t c = 0; c < width; ++c) {
            ASSERT_EQ(out[static_cast<std::size_t>(c)], whole.out[static_cast<std::size_t>(position * width + c)])
                << "position " << position << " team " << team;
          }
        }
      }
      omp_set_num_threads(threads);
    }
  }
  set_activation_precision(before);
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 8, .scale = 1000};
  Sequence s(shape, 5, 5, 3);
  AttentionScratch scratch;
  attention({&s.view, 1}, shape, scratch);
  for (const float value : s.out) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace awq::ops
