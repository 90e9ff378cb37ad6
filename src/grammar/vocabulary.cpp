#include "grammar/vocabulary.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "text/byte_alphabet.h"

namespace awq::grammar {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";  // U+2581

/// <0xHH> of SentencePiece.
std::optional<char> byte_token(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  const auto result = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (result.ptr != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

bool decodes_to(const text::Tokenizer& tokenizer, const char* token, const char* expected) {
  const auto id = tokenizer.token_id(token);
  return id && tokenizer.decode({&*id, 1}, false) == expected;
}

std::vector<std::string> with_markers(const text::Tokenizer& tokenizer, std::int64_t vocab_size,
                                      std::span<const std::string> markers) {
  std::vector<std::string> out = token_bytes(tokenizer, vocab_size);
  for (const std::string& marker : markers) {
    const auto id = tokenizer.token_id(marker);
    if (id && *id >= 0 && *id < vocab_size) out[static_cast<std::size_t>(*id)] = marker;
  }
  return out;
}

}  // namespace

std::vector<std::string> token_bytes(const text::Tokenizer& tokenizer, std::int64_t vocab_size) {
  // A byte-level decoder turns its characters back into the bytes; the newline is in every such vocabulary.
  const bool byte_level = decodes_to(tokenizer, "\xC4\x8A", "\n") || decodes_to(tokenizer, "\xC4\xA0", " ");
  const bool byte_fallback = decodes_to(tokenizer, "<0x0A>", "\n");
  std::vector<std::string> out(static_cast<std::size_t>(vocab_size));
  const std::int64_t count = std::min<std::int64_t>(vocab_size, tokenizer.vocab_size());
  for (std::int32_t id = 0; id < count; ++id) {
    if (tokenizer.is_special(id)) continue;
    std::string token = tokenizer.token(id);
    if (byte_level) {
      if (auto bytes = text::from_byte_chars(token)) token = std::move(*bytes);
    } else {
      const auto byte = byte_fallback ? byte_token(token) : std::nullopt;
      if (byte) {
        token.assign(1, *byte);
      } else {
        for (std::size_t at = 0; (at = token.find(kWordMark, at)) != std::string::npos; ++at) {
          token.replace(at, kWordMark.size(), " ");
        }
      }
    }
    out[static_cast<std::size_t>(id)] = std::move(token);
  }
  return out;
}

Vocabulary::Vocabulary(const text::Tokenizer& tokenizer, std::span<const std::int32_t> eos_ids, std::int64_t vocab_size,
                       std::span<const std::string> markers)
    : Vocabulary(with_markers(tokenizer, vocab_size, markers), eos_ids) {}

Vocabulary::Vocabulary(std::vector<std::string> tokens, std::span<const std::int32_t> eos_ids)
    : tokens_(std::move(tokens)) {
  for (const std::int32_t id : eos_ids) {
    if (id < 0 || static_cast<std::size_t>(id) >= tokens_.size()) continue;
    eos_ids_.push_back(id);
    tokens_[static_cast<std::size_t>(id)].clear();
  }
  build();
}

bool Vocabulary::is_eos(std::int32_t id) const {
  return std::find(eos_ids_.begin(), eos_ids_.end(), id) != eos_ids_.end();
}

void Vocabulary::build() {
  constexpr std::size_t kMaxTokenBytes = 1024;
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].empty() && tokens_[id].size() <= kMaxTokenBytes)
      token_ids_.push_back(static_cast<std::int32_t>(id));
  }
  std::sort(token_ids_.begin(), token_ids_.end(),
            [&](std::int32_t a, std::int32_t b) { return bytes(a) != bytes(b) ? bytes(a) < bytes(b) : a < b; });
  std::vector<std::uint32_t> path;  // nodes from the root to the last token's end
  std::string_view last;
  for (std::uint32_t i = 0; i < token_ids_.size(); ++i) {
    const std::string& token = bytes(token_ids_[i]);
    std::size_t shared = 0;
    while (shared < std::min(last.size(), token.size()) && last[shared] == token[shared]) ++shared;
    while (path.size() > shared) {
      trie_[path.back()].skip = static_cast<std::uint32_t>(trie_.size());
      path.pop_back();
    }
    for (std::size_t at = shared; at < token.size(); ++at) {
      path.push_back(static_cast<std::uint32_t>(trie_.size()));
      trie_.push_back({.byte = static_cast<unsigned char>(token[at]), .depth = static_cast<std::uint16_t>(at + 1)});
    }
    TrieNode& end = trie_[path.back()];
    if (end.first_token == end.end_token) end.first_token = i;
    end.end_token = i + 1;
    last = token;
    max_depth_ = std::max(max_depth_, token.size());
  }
  for (const std::uint32_t node : path) trie_[node].skip = static_cast<std::uint32_t>(trie_.size());
}

}  // namespace awq::grammar
