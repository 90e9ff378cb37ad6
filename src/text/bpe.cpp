#include "text/bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace awq::text {

BpeModel::BpeModel(const Vocab& vocab, std::span<const BpeMerge> merges, BpeOptions options)
    : vocab_(vocab),
      options_(std::move(options)),
      merges_(merges.size()),
      byte_words_(options_.byte_level ? vocab.count() : 0) {
  for (const BpeMerge& merge : merges) {
    merges_.set(static_cast<std::uint32_t>(merge.left), static_cast<std::uint32_t>(merge.right),
                {merge.rank, merge.result});
  }
  find_byte_tokens();
  std::int32_t extra_id = vocab.end_id();
  for (const std::string& scalar : options_.extra_scalars) extra_symbols_.insert(scalar, extra_id++);

  const bool plain_words = options_.continuing_subword_prefix.empty() && options_.end_of_word_suffix.empty();
  can_take_whole_ = plain_words && options_.unused.empty();
  can_cut_ = can_take_whole_ && !options_.byte_level && merges_can_be_cut(merges);
  if (can_cut_) {
    for (const BpeMerge& merge : merges) adjacent_.add_token(vocab.token(merge.result));
  }
  whole_ = std::make_unique<std::atomic<unsigned char>[]>(static_cast<std::size_t>(vocab.end_id()));
}

bool BpeModel::has_byte_alphabet(const Vocab& vocab) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string token;
    append_utf8(token, byte_to_char(static_cast<unsigned char>(byte)));
    if (!vocab.find(token)) return false;
  }
  return true;
}

void BpeModel::find_byte_tokens() {
  for (unsigned c = 0; c < 128; ++c) {
    const char text = static_cast<char>(c);
    ascii_symbols_[c] = vocab_.find(std::string_view(&text, 1)).value_or(-1);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    fallback_symbols_[byte] = vocab_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
  if (!options_.byte_level) return;
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string token;
    append_utf8(token, byte_to_char(static_cast<unsigned char>(byte)));
    byte_symbols_[byte] = vocab_.find(token).value_or(-1);
    AWQ_CHECK(byte_symbols_[byte] >= 0);
  }
  for (std::int32_t id = 0; id < vocab_.end_id(); ++id) {
    // A token with other characters can never come out of bytes; different tokens have different bytes.
    if (const std::optional<std::string> bytes = from_byte_chars(vocab_.token(id)); bytes && vocab_.has(id)) {
      byte_words_.insert(*bytes, id);
    }
  }
}

/// Cutting looks at the characters of the text, so it needs every symbol to stand for its own characters. The tokens
/// that stand for something else are the byte tokens and unk.
bool BpeModel::merges_can_be_cut(std::span<const BpeMerge> merges) const {
  std::vector<std::int32_t> stand_ins;
  if (options_.byte_fallback) stand_ins.assign(fallback_symbols_.begin(), fallback_symbols_.end());
  if (options_.unk_id) stand_ins.push_back(*options_.unk_id);
  std::sort(stand_ins.begin(), stand_ins.end());
  return std::none_of(merges.begin(), merges.end(), [&](const BpeMerge& merge) {
    return std::binary_search(stand_ins.begin(), stand_ins.end(), merge.left) ||
           std::binary_search(stand_ins.begin(), stand_ins.end(), merge.right);
  });
}

void BpeModel::encode(std::string_view word, MergeScratch& scratch, std::vector<std::int32_t>& out) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    if (const std::optional<std::int32_t> id = find_word(word)) {
      out.push_back(*id);
      return;
    }
  }
  bool after_unk = false;
  if (!can_cut_) {
    encode_unit(word, after_unk, scratch, out);
    return;
  }
  Scalar left = scalar_at(word, 0);
  std::size_t begin = 0;
  for (std::size_t at = left.bytes; at < word.size();) {
    const Scalar right = scalar_at(word, at);
    if (!adjacent_.contains(left.value, right.value)) {
      encode_unit(word.substr(begin, at - begin), after_unk, scratch, out);
      begin = at;
    }
    at += right.bytes;
    left = right;
  }
  encode_unit(word.substr(begin), after_unk, scratch, out);
}

void BpeModel::encode_unit(std::string_view unit, bool& after_unk, MergeScratch& scratch,
                           std::vector<std::int32_t>& out) const {
  std::optional<std::int32_t> whole;
  if (can_take_whole_) whole = find_word(unit);
  bool settle = false;
  if (whole) {
    const unsigned char known = whole_[static_cast<std::size_t>(*whole)].load(std::memory_order_relaxed);
    if (known == kStaysWhole) {
      out.push_back(*whole);
      after_unk = false;
      return;
    }
    settle = known == kUnknownYet;
  }
  scratch.symbols.clear();
  scratch.symbols.reserve(unit.size());
  split_into_symbols(unit, after_unk, scratch.symbols);
  SplitLog log;
  log.watched = &options_.unused;
  merge_symbols(merges_, scratch, options_.unused.empty() ? nullptr : &log);
  if (settle) {
    const bool stays = scratch.symbols.size() == 1 && scratch.symbols[0] == *whole;
    whole_[static_cast<std::size_t>(*whole)].store(stays ? kStaysWhole : kSplits, std::memory_order_relaxed);
  }
  emit(scratch, log, out);
}

void BpeModel::split_into_symbols(std::string_view unit, bool& after_unk, std::vector<std::int32_t>& symbols) const {
  if (options_.byte_level) {
    for (const char byte : unit) symbols.push_back(byte_symbols_[static_cast<unsigned char>(byte)]);
    return;
  }
  const std::string& prefix = options_.continuing_subword_prefix;
  const std::string& suffix = options_.end_of_word_suffix;
  const bool plain_words = prefix.empty() && suffix.empty();
  std::string decorated;
  for (std::size_t at = 0; at < unit.size();) {
    const Scalar scalar = scalar_at(unit, at);
    std::string_view text = unit.substr(at, scalar.bytes);
    if (!plain_words) {
      decorated.assign(at > 0 ? prefix : std::string()).append(text);
      if (at + scalar.bytes == unit.size()) decorated += suffix;
      text = decorated;
    }
    at += scalar.bytes;
    std::optional<std::int32_t> id;
    if (text.size() == 1) {
      if (const std::int32_t ascii = ascii_symbols_[scalar.value]; ascii >= 0) id = ascii;
    } else {
      id = vocab_.find(text);
    }
    if (!id && extra_symbols_.size() > 0) id = extra_symbols_.find(text);
    if (id) {
      symbols.push_back(*id);
      after_unk = false;
    } else {
      add_unknown(text, after_unk, symbols);
    }
  }
}

void BpeModel::add_unknown(std::string_view scalar, bool& after_unk, std::vector<std::int32_t>& symbols) const {
  const auto fallback = [&](char byte) { return fallback_symbols_[static_cast<unsigned char>(byte)]; };
  if (options_.byte_fallback &&
      std::all_of(scalar.begin(), scalar.end(), [&](char byte) { return fallback(byte) >= 0; })) {
    for (const char byte : scalar) symbols.push_back(fallback(byte));
    after_unk = false;
  } else if (options_.unk_id && !(options_.fuse_unk && after_unk)) {
    symbols.push_back(*options_.unk_id);
    after_unk = true;
  }
}

void BpeModel::emit(const MergeScratch& scratch, const SplitLog& log, std::vector<std::int32_t>& out) const {
  if (options_.unused.empty() && options_.extra_scalars.empty()) {
    out.insert(out.end(), scratch.symbols.begin(), scratch.symbols.end());
    return;
  }
  std::vector<std::int32_t> pending;
  bool after_unk = false;
  for (const std::int32_t symbol : scratch.symbols) {
    pending.assign(1, symbol);
    while (!pending.empty()) {
      const std::int32_t id = pending.back();
      pending.pop_back();
      const auto parts = log.parts.find(id);
      if (parts != log.parts.end()) {
        pending.push_back(parts->second.second);
        pending.push_back(parts->second.first);
      } else if (id >= vocab_.end_id()) {
        add_unknown(options_.extra_scalars[static_cast<std::size_t>(id - vocab_.end_id())], after_unk, out);
      } else {
        out.push_back(id);
        after_unk = false;
      }
    }
  }
}

}  // namespace awq::text
