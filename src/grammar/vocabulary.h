#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace awq::grammar {

/// The bytes of every token of a tokenizer, sorted into a trie. Immutable: one for a model, shared by all requests.
class Vocabulary {
 public:
  /// `eos_ids` end a text; special tokens are otherwise never allowed, and neither are ids from `vocab_size` on.
  /// `markers` are special tokens that count as the text they are written as: those around tool calls, which no other
  /// text should be able to use.
  Vocabulary(const text::Tokenizer& tokenizer, std::span<const std::int32_t> eos_ids, std::int64_t vocab_size,
             std::span<const std::string> markers = {});
  /// From the bytes of each id; an empty text is an id that is never allowed.
  Vocabulary(std::vector<std::string> tokens, std::span<const std::int32_t> eos_ids);

  std::size_t size() const { return tokens_.size(); }
  std::size_t mask_words() const { return (tokens_.size() + 31) / 32; }
  const std::string& bytes(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  bool is_eos(std::int32_t id) const;
  const std::vector<std::int32_t>& eos_ids() const { return eos_ids_; }

  /// One node of the trie, in depth-first order. A node that cannot match is left by going on at `skip`.
  struct TrieNode {
    unsigned char byte = 0;
    std::uint16_t depth = 0;        ///< 1 for a first byte
    std::uint32_t skip = 0;         ///< index of the next node that is not below this one
    std::uint32_t first_token = 0;  ///< tokens that end here: token_ids()[first_token, end_token)
    std::uint32_t end_token = 0;
  };
  const std::vector<TrieNode>& trie() const { return trie_; }
  const std::vector<std::int32_t>& token_ids() const { return token_ids_; }
  std::size_t max_depth() const { return max_depth_; }

 private:
  void build();

  std::vector<std::string> tokens_;
  std::vector<std::int32_t> eos_ids_;
  std::vector<TrieNode> trie_;
  std::vector<std::int32_t> token_ids_;
  std::size_t max_depth_ = 0;
};

/// The bytes that each id adds to a text, empty for special tokens and ids that are not in use. Knows the byte-level
/// alphabet and the byte tokens and word marks of SentencePiece.
std::vector<std::string> token_bytes(const text::Tokenizer& tokenizer, std::int64_t vocab_size);

}  // namespace awq::grammar
