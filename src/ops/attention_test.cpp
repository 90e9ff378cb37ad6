#include "ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/random.h"
#include "tolerances.h"

namespace awq::ops {
namespace {

/// A sequence with memory of its own.
struct Sequence {
  std::vector<float> q, keys, values, out;
  AttentionSequence view;

  Sequence(const AttentionShape& shape, std::int64_t queries, std::int64_t key_count, std::uint64_t seed) {
    const auto q_size = static_cast<std::size_t>(queries * shape.num_heads * shape.head_dim);
    const auto kv_size = static_cast<std::size_t>(key_count * shape.num_kv_heads * shape.head_dim);
    q = test::random_floats(seed, q_size, 4);
    keys = test::random_floats(seed + 1, kv_size);
    values = test::random_floats(seed + 2, kv_size);
    out.assign(q_size, std::nanf(""));
    view = {.q = q.data(),
            .keys = keys.data(),
            .values = values.data(),
            .out = out.data(),
            .query_count = queries,
            .key_count = key_count};
  }
};

/// The definition, in binary64.
void expect_attention(const Sequence& s, const AttentionShape& shape) {
  const std::int64_t d = shape.head_dim;
  for (std::int64_t i = 0; i < s.view.query_count; ++i) {
    const std::int64_t position = s.view.key_count - s.view.query_count + i;
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

TEST(Attention, MatchesTheDefinition) {
  std::uint64_t seed = 0;
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {4, 2}, {6, 1}, {3, 3}}) {
    for (const int head_dim : {8, 16, 24}) {
      for (const int window : {0, 1, 5, 100}) {
        const AttentionShape shape{.num_heads = heads,
                                   .num_kv_heads = kv_heads,
                                   .head_dim = head_dim,
                                   .scale = 1.0F / std::sqrt(static_cast<float>(head_dim)),
                                   .window = window};
        // A whole prompt, one longer than a block of queries, decoding, and a chunk after a past.
        std::vector<Sequence> sequences;
        for (const auto& [queries, keys] : {std::pair{1, 1}, {7, 7}, {70, 70}, {1, 40}, {9, 33}}) {
          sequences.emplace_back(shape, queries, keys, seed += 10);
        }
        std::vector<AttentionSequence> batch;
        for (const Sequence& s : sequences) batch.push_back(s.view);
        attention(batch, shape);
        for (const Sequence& s : sequences) expect_attention(s, shape);
      }
    }
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  const AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 8, .scale = 1000};
  Sequence s(shape, 5, 5, 3);
  attention({&s.view, 1}, shape);
  for (const float value : s.out) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace awq::ops
