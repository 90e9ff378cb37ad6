#include "text/merge.h"

#include <gtest/gtest.h>

#include "text/bpe.h"
#include "text/tokenizer_test_support.h"

namespace awq::text {
namespace {

/// The definition: the pair of lowest rank, leftmost first, until there is none.
std::vector<std::int32_t> merge_slowly(const MergeTable& table, std::vector<std::int32_t> symbols) {
  for (;;) {
    std::size_t best = symbols.size();
    MergeRule rule;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const MergeRule* found =
          table.find(static_cast<std::uint32_t>(symbols[i]), static_cast<std::uint32_t>(symbols[i + 1]));
      if (found != nullptr && found->rank < rule.rank) {
        rule = *found;
        best = i;
      }
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = rule.result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Merge, EqualsTheDefinition) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 400; ++round) {
    MergeTable table;
    const std::int32_t letters = 1 + static_cast<std::int32_t>(random() % 4);
    std::int32_t symbols = letters;
    for (int i = 0; i < 30; ++i) {
      const auto any = [&] { return static_cast<std::uint32_t>(random() % static_cast<std::uint64_t>(symbols)); };
      // Few ranks, so that ties are common, in no order: a new pair may go before the one that made it.
      const auto left = any();
      table.set(left, any(), {static_cast<std::uint32_t>(random() % 12), symbols++});
    }
    for (const std::size_t length : {1, 2, 3, 39, 40, 41, 42, 200}) {
      MergeScratch scratch;
      for (std::size_t i = 0; i < length; ++i) {
        scratch.symbols.push_back(static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(letters)));
      }
      const std::vector<std::int32_t> expected = merge_slowly(table, scratch.symbols);
      merge_symbols(table, scratch, nullptr);
      ASSERT_EQ(scratch.symbols, expected) << "round " << round << " length " << length;
    }
  }
}

/// Two models over the same vocabulary, one of which may not cut words nor take them whole: a suffix that no token has
/// would change ids, so the plain one is compared with the definition instead.
TEST(Bpe, CuttingAWordChangesNothing) {
  std::mt19937_64 random(3);
  const std::string letters = "abc_";
  for (int round = 0; round < 200; ++round) {
    Vocab vocab;
    std::vector<std::string> tokens;
    for (const char letter : letters) {
      vocab.add(std::string(1, letter), vocab.end_id());
      tokens.emplace_back(1, letter);
    }
    std::vector<BpeMerge> merges;
    MergeTable table;
    for (std::uint32_t rank = 0; rank < 12; ++rank) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      if (vocab.add(left + right, vocab.end_id()) == Vocab::Added::kOk) tokens.push_back(left + right);
      const BpeMerge merge{*vocab.find(left), *vocab.find(right), *vocab.find(left + right), rank};
      merges.push_back(merge);
      table.set(static_cast<std::uint32_t>(merge.left), static_cast<std::uint32_t>(merge.right), {rank, merge.result});
    }
    const BpeModel model(vocab, merges, {});
    MergeScratch scratch;
    for (int k = 0; k < 50; ++k) {
      std::string word;
      std::vector<std::int32_t> symbols;
      for (std::size_t i = 0; i < 1 + random() % 60; ++i) {
        word += letters[random() % letters.size()];
        symbols.push_back(*vocab.find(word.substr(word.size() - 1)));
      }
      std::vector<std::int32_t> ids;
      model.encode(word, scratch, ids);
      ASSERT_EQ(ids, merge_slowly(table, symbols)) << word;
    }
  }
}

TEST(Bpe, UnknownCharacters) {
  Vocab vocab;
  for (const char* token : {"<unk>", "a", "<0xC3>", "<0xA9>"}) vocab.add(token, vocab.end_id());
  const auto encode = [&](const BpeOptions& options, std::string_view word) {
    MergeScratch scratch;
    std::vector<std::int32_t> ids;
    BpeModel(vocab, {}, options).encode(word, scratch, ids);
    return ids;
  };
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(encode({}, "xay"), (Ids{1}));  // nothing to say it with: dropped
  EXPECT_EQ(encode({.unk_id = 0}, "xyaz"), (Ids{0, 0, 1, 0}));
  EXPECT_EQ(encode({.fuse_unk = true, .unk_id = 0}, "xyaz"), (Ids{0, 1, 0}));
  // Bytes only where all bytes of the character are tokens.
  EXPECT_EQ(encode({.byte_fallback = true, .unk_id = 0}, "\u00e9\u00e8"), (Ids{2, 3, 0}));
}

TEST(Bpe, PrefixAndSuffix) {
  Vocab vocab;
  for (const char* token : {"a", "##b", "##b</w>", "a</w>", "ab</w>"}) vocab.add(token, vocab.end_id());
  const std::vector<BpeMerge> merges = {{0, 2, 4, 0}};
  const BpeModel model(vocab, merges, {.continuing_subword_prefix = "##", .end_of_word_suffix = "</w>"});
  MergeScratch scratch;
  std::vector<std::int32_t> ids;
  model.encode("ab", scratch, ids);
  model.encode("a", scratch, ids);
  model.encode("abb", scratch, ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{4, 3, 0, 1, 2}));
}

}  // namespace
}  // namespace awq::text
