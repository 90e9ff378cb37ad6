// One forward pass serves prompts, chunks, decoding and batches: all of them must give the same numbers.

#include <gtest/gtest.h>

#include <algorithm>
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

TEST(KvCache, GrowsAndKeepsItsRows) {
  ModelConfig config;
  config.num_hidden_layers = 2;
  config.num_key_value_heads = 2;
  config.head_dim = 3;
  KvCache cache(config, 2);
  for (std::int64_t length = 0; length < 200; ++length) {
    cache.reserve(length + 1);
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      ASSERT_GE(cache.layer(layer).keys.size(), static_cast<std::size_t>((length + 1) * 6));
      for (std::size_t i = 0; i < 6; ++i) {
        cache.layer(layer).keys[static_cast<std::size_t>(length) * 6 + i] = static_cast<float>(length * 2 + layer);
        cache.layer(layer).values[static_cast<std::size_t>(length) * 6 + i] = -static_cast<float>(length * 2 + layer);
      }
    }
    cache.set_length(length + 1);
  }
  for (std::size_t row = 0; row < 200; ++row) {
    for (std::size_t layer = 0; layer < 2; ++layer) {
      LayerCache& stored = cache.layer(static_cast<std::int64_t>(layer));
      EXPECT_EQ(stored.keys[row * 6 + 5], static_cast<float>(row * 2 + layer));
      EXPECT_EQ(stored.values[row * 6], -static_cast<float>(row * 2 + layer));
    }
  }
}

}  // namespace
}  // namespace awq::model
