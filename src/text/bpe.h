#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/adjacent_scalars.h"
#include "text/merge.h"
#include "text/string_table.h"
#include "text/vocab.h"

namespace awq::text {

struct BpeMerge {
  std::int32_t left = 0;
  std::int32_t right = 0;
  std::int32_t result = 0;
  std::uint32_t rank = 0;
};

struct BpeOptions {
  /// Words are the raw bytes behind the byte-level alphabet. Only when all 256 characters of it are tokens.
  bool byte_level = false;
  bool ignore_merges = false;  ///< a word that is a token is that token, whatever the merges say
  bool byte_fallback = false;  ///< unknown characters become <0xHH> tokens
  bool fuse_unk = false;       ///< neighbouring unknown characters become one unk token
  std::optional<std::int32_t> unk_id = {};
  std::string continuing_subword_prefix = {};
  std::string end_of_word_suffix = {};
  /// Characters without a token of their own that merges use nevertheless: symbols vocab.end_id(), +1, ...
  std::vector<std::string> extra_scalars = {};
  /// By id: tokens that merging may pass through but that split back in the result. Empty: none.
  std::vector<bool> unused = {};
};

/// Byte pair encoding of one word. Immutable but for a cache of facts about the vocabulary; safe from many threads.
class BpeModel {
 public:
  /// `vocab` must outlive this object. A pair that is named twice takes its last merge.
  BpeModel(const Vocab& vocab, std::span<const BpeMerge> merges, BpeOptions options);

  /// Appends the ids of `word` (valid UTF-8, or raw bytes when byte_level).
  void encode(std::string_view word, MergeScratch& scratch, std::vector<std::int32_t>& out) const;

  bool byte_level() const { return options_.byte_level; }
  /// True when every character of the byte-level alphabet is a token.
  static bool has_byte_alphabet(const Vocab& vocab);

 private:
  enum Whole : unsigned char { kUnknownYet, kStaysWhole, kSplits };

  void encode_unit(std::string_view unit, bool& after_unk, MergeScratch& scratch, std::vector<std::int32_t>& out) const;
  void split_into_symbols(std::string_view unit, bool& after_unk, std::vector<std::int32_t>& symbols) const;
  void add_unknown(std::string_view scalar, bool& after_unk, std::vector<std::int32_t>& symbols) const;
  void emit(const MergeScratch& scratch, const SplitLog& log, std::vector<std::int32_t>& out) const;
  std::optional<std::int32_t> find_word(std::string_view word) const {
    return options_.byte_level ? byte_words_.find(word) : vocab_.find(word);
  }
  void find_byte_tokens();
  bool merges_can_be_cut(std::span<const BpeMerge> merges) const;

  const Vocab& vocab_;
  BpeOptions options_;
  MergeTable merges_;
  StringTable byte_words_;                            ///< raw bytes -> id, when byte_level
  std::array<std::int32_t, 256> byte_symbols_{};      ///< initial symbol of a byte, when byte_level
  std::array<std::int32_t, 128> ascii_symbols_{};     ///< token of an ASCII character or -1
  std::array<std::int32_t, 256> fallback_symbols_{};  ///< token <0xHH> or -1
  StringTable extra_symbols_;
  AdjacentScalars adjacent_;
  bool can_cut_ = false;
  bool can_take_whole_ = false;
  /// By id: whether the merges turn the token's own string into that token. Found out on first use; two threads that
  /// find it out at once store the same value.
  std::unique_ptr<std::atomic<unsigned char>[]> whole_;
};

}  // namespace awq::text
