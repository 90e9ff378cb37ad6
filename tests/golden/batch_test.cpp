// One forward pass serves prompts, chunks, decoding and batches: all of them must give the same numbers.

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "awq/error.h"
#include "base/random.h"
#include "model/language_model.h"
#include "support/checkpoints.h"
#include "support/logits.h"
#include "tolerances.h"

namespace awq::model {
namespace {

using Ids = std::vector<std::int32_t>;

Ids random_ids(std::uint64_t seed, std::size_t count, std::int64_t vocab) {
  Ids out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<std::int32_t>(random_bits(seed, i) % static_cast<std::uint64_t>(vocab));
  }
  return out;
}

class Batch : public testing::TestWithParam<std::filesystem::path> {
 protected:
  LanguageModel model_{ModelFiles::open(GetParam())};
  std::size_t vocab_ = static_cast<std::size_t>(model_.config().vocab_size);
};

TEST_P(Batch, FlatBatchEqualsEachSequenceAlone) {
  const std::size_t lengths[] = {5, 1, 23, 9, 64, 2};
  Ids flat;
  std::vector<SequenceSlice> slices;
  std::vector<float> alone;
  for (const std::size_t length : lengths) {
    const Ids ids = random_ids(length, length, model_.config().vocab_size);
    const std::vector<float> logits = test::all_logits(model_, ids);
    alone.insert(alone.end(), logits.begin(), logits.end());
    flat.insert(flat.end(), ids.begin(), ids.end());
    slices.push_back({.token_count = static_cast<std::int64_t>(length)});
  }
  test::expect_close(model_.forward(flat, slices, true), alone, tolerance::kBatchLogits, "batch");
  // Without `all`, the last token of each slice.
  const std::span<const float> last = model_.forward(flat, slices);
  ASSERT_EQ(last.size(), std::size(lengths) * vocab_);
  std::size_t end = 0;
  for (std::size_t i = 0; i < std::size(lengths); ++i) {
    end += lengths[i];
    test::expect_close(last.subspan(i * vocab_, vocab_), std::span(alone).subspan((end - 1) * vocab_, vocab_),
                       tolerance::kBatchLogits, "last of slice " + std::to_string(i));
  }
}

TEST_P(Batch, ChunkedPrefillEqualsWhole) {
  const Ids ids = random_ids(1, 50, model_.config().vocab_size);
  const std::vector<float> whole = test::all_logits(model_, ids);
  for (const std::size_t chunk : {1U, 3U, 8U, 17U, 49U, 50U}) {
    KvCache cache(model_.config(), 1);  // grows many times on the way
    for (std::size_t at = 0; at < ids.size(); at += chunk) {
      const std::size_t count = std::min<std::size_t>(chunk, ids.size() - at);
      const SequenceSlice slice{.token_count = static_cast<std::int64_t>(count), .cache = &cache};
      const std::span<const float> logits = model_.forward(std::span(ids).subspan(at, count), {&slice, 1}, true);
      test::expect_close(logits, std::span(whole).subspan(at * vocab_, count * vocab_), tolerance::kBatchLogits,
                         "chunk " + std::to_string(chunk) + " at " + std::to_string(at));
    }
    EXPECT_EQ(cache.length(), 50);
  }
}

TEST_P(Batch, DecodingTogetherEqualsAlone) {
  // Two prompts of different lengths, prefilled apart, then decoded in one batch with a third that begins.
  const Ids first = random_ids(2, 30, model_.config().vocab_size);
  const Ids second = random_ids(3, 12, model_.config().vocab_size);
  const Ids third = random_ids(4, 7, model_.config().vocab_size);
  const std::vector<float> expected_first = test::all_logits(model_, first);
  const std::vector<float> expected_second = test::all_logits(model_, second);
  const std::vector<float> expected_third = test::all_logits(model_, third);
  KvCache a(model_.config(), 4), b(model_.config(), 64), c(model_.config(), 1);
  const SequenceSlice prefill_a{.token_count = 29, .cache = &a};
  const SequenceSlice prefill_b{.token_count = 11, .cache = &b};
  model_.forward(std::span(first).first(29), {&prefill_a, 1});
  model_.forward(std::span(second).first(11), {&prefill_b, 1});
  Ids step = {first.back(), second.back()};
  step.insert(step.end(), third.begin(), third.end());
  const SequenceSlice slices[] = {
      {.token_count = 1, .cache = &a}, {.token_count = 1, .cache = &b}, {.token_count = 7, .cache = &c}};
  const std::span<const float> logits = model_.forward(step, slices);
  const std::span<const float> all[] = {expected_first, expected_second, expected_third};
  for (std::size_t i = 0; i < 3; ++i) {
    test::expect_close(logits.subspan(i * vocab_, vocab_), all[i].last(vocab_), tolerance::kBatchLogits,
                       "sequence " + std::to_string(i));
  }
  EXPECT_EQ(a.length(), 30);
  EXPECT_EQ(b.length(), 12);
  EXPECT_EQ(c.length(), 7);
}

TEST_P(Batch, SameInputGivesTheSameBits) {
  const Ids ids = random_ids(5, 20, model_.config().vocab_size);
  EXPECT_EQ(test::all_logits(model_, ids), test::all_logits(model_, ids));
}

TEST_P(Batch, IdsOutsideTheVocabularyAreRefused) {
  const SequenceSlice slice{.token_count = 1};
  for (const std::int32_t id : {-1, static_cast<std::int32_t>(vocab_)}) {
    EXPECT_THROW(model_.forward({&id, 1}, {&slice, 1}), Error);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Batch, testing::ValuesIn(test::golden_models()),
                         [](const auto& model) { return model.param.filename().string(); });

TEST_P(Batch, PooledBlocksEqualACache) {
  // Two sequences whose blocks lie mixed up in one pool, in chunks and then together.
  const Ids first = random_ids(6, 45, model_.config().vocab_size);
  const Ids second = random_ids(7, 33, model_.config().vocab_size);
  const std::vector<float> expected_first = test::all_logits(model_, first);
  const std::vector<float> expected_second = test::all_logits(model_, second);
  const KvPool pool(model_.config(), ops::KvDtype::kF32, 7);
  const std::vector<std::int32_t> blocks_first = {6, 1, 4}, blocks_second = {0, 5, 2};
  const SequenceSlice a{.token_count = 20, .blocks = blocks_first};
  const SequenceSlice b{.token_count = 32, .blocks = blocks_second};
  model_.forward(std::span(first).first(20), {&a, 1}, false, &pool);
  model_.forward(std::span(second).first(32), {&b, 1}, false, &pool);
  Ids rest(first.begin() + 20, first.end());
  rest.push_back(second.back());
  const SequenceSlice both[] = {{.token_count = 25, .past = 20, .blocks = blocks_first},
                                {.token_count = 1, .past = 32, .blocks = blocks_second}};
  const std::span<const float> logits = model_.forward(rest, both, false, &pool);
  test::expect_close(logits.first(vocab_), std::span(expected_first).last(vocab_), tolerance::kBatchLogits, "first");
  test::expect_close(logits.last(vocab_), std::span(expected_second).last(vocab_), tolerance::kBatchLogits, "second");
}

TEST_P(Batch, RowInvariantLogitsAreTheSameBits) {
  // Whole, in chunks of any size, and beside others: not close, equal.
  model_.set_row_invariant(true);
  const Ids ids = random_ids(8, 50, model_.config().vocab_size);
  const std::vector<float> whole = test::all_logits(model_, ids);
  for (const std::size_t chunk : {1U, 7U, 16U, 31U}) {
    KvCache cache(model_.config(), 1);
    for (std::size_t at = 0; at < ids.size(); at += chunk) {
      const std::size_t count = std::min<std::size_t>(chunk, ids.size() - at);
      Ids batch = random_ids(9, 3, model_.config().vocab_size);
      batch.insert(batch.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                   ids.begin() + static_cast<std::ptrdiff_t>(at + count));
      const SequenceSlice slices[] = {{.token_count = 3},
                                      {.token_count = static_cast<std::int64_t>(count), .cache = &cache}};
      const std::span<const float> logits = model_.forward(batch, slices, true).subspan(3 * vocab_);
      ASSERT_TRUE(std::equal(logits.begin(), logits.end(), whole.begin() + static_cast<std::ptrdiff_t>(at * vocab_)))
          << "chunk " << chunk << " at " << at;
    }
  }
}

TEST_P(Batch, TokensWithoutResultsChangeNothing) {
  // The last layer leaves them out; keys, values and everybody else's logits stay the same bits.
  model_.set_row_invariant(true);
  const std::int64_t lengths[] = {20, 9, 1, 40, 6}, results[] = {3, 0, 1, -1, 1};
  Ids first, second;
  std::vector<std::vector<float>> whole;
  for (std::size_t i = 0; i < std::size(lengths); ++i) {
    const Ids ids = random_ids(20 + i, static_cast<std::size_t>(lengths[i]) + 2, model_.config().vocab_size);
    first.insert(first.end(), ids.begin(), ids.end() - 2);
    second.insert(second.end(), ids.end() - 2, ids.end());
    whole.push_back(test::all_logits(model_, ids));
  }
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < std::size(lengths); ++i) caches.emplace_back(model_.config(), 1);
  std::vector<SequenceSlice> slices;
  std::vector<std::int64_t> asked;
  std::vector<float> expected;
  std::int64_t end = 0;
  for (std::size_t i = 0; i < std::size(lengths); ++i) {
    slices.push_back({.token_count = lengths[i], .cache = &caches[i], .results = results[i]});
    end += lengths[i];
    const std::int64_t count = results[i] < 0 ? lengths[i] : results[i];
    for (std::int64_t t = lengths[i] - count; t < lengths[i]; ++t) {
      asked.push_back(end - lengths[i] + t);
      const auto row = whole[i].begin() + t * static_cast<std::int64_t>(vocab_);
      expected.insert(expected.end(), row, row + static_cast<std::ptrdiff_t>(vocab_));
    }
  }
  model_.run(first, slices);
  const std::span<const float> logits = model_.logits(asked);
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), expected.begin(), expected.end()));
  const std::int64_t without = lengths[0] - results[0] - 1;
  EXPECT_THROW(model_.logits({&without, 1}), Error);

  // What they left in the caches is what the tokens behind them read. One batch has no results at all.
  for (SequenceSlice& slice : slices) slice.token_count = 1, slice.results = 0;
  for (const int step : {0, 1}) {
    Ids ids;
    for (std::size_t i = 0; i < slices.size(); ++i) ids.push_back(second[2 * i + static_cast<std::size_t>(step)]);
    model_.run(ids, slices);
    for (SequenceSlice& slice : slices) slice.results = 1;
  }
  asked.resize(slices.size());
  std::iota(asked.begin(), asked.end(), 0);
  const std::span<const float> last = model_.logits(asked);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const std::span<const float> row = last.subspan(i * vocab_, vocab_);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), whole[i].end() - static_cast<std::ptrdiff_t>(vocab_))) << i;
  }
}

TEST(KvCache, GrowsAndKeepsItsRows) {
  ModelConfig config;
  config.num_hidden_layers = 2;
  config.num_key_value_heads = 2;
  config.head_dim = 3;
  KvCache cache(config, 2);
  const auto row_of = [](std::int64_t token, std::int64_t layer) {
    return std::vector<float>(6, static_cast<float>(token * 2 + layer));
  };
  for (std::int64_t length = 0; length < 200; ++length) {
    cache.reserve(length + 1);
    ASSERT_GE(cache.capacity(), length + 1);
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      const std::vector<float> row = row_of(length, layer);
      ops::store_kv(cache.layer(layer), cache.blocks(), length, 1, row.data(), row.data());
    }
    cache.set_length(length + 1);
  }
  for (std::int64_t token = 0; token < 200; ++token) {
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      const ops::KvView view = cache.layer(layer);
      const auto* head = reinterpret_cast<const float*>(view.head(token / 16, 1));
      const auto* values = head + view.layout.value_offset() / 4;
      EXPECT_EQ(head[2 * 16 + token % 16], row_of(token, layer)[5]);
      EXPECT_EQ(values[token % 16 * 16 + 2], row_of(token, layer)[5]);
    }
  }
}

}  // namespace
}  // namespace awq::model
