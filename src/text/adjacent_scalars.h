#pragma once

#include <array>
#include <string_view>

#include "text/string_table.h"
#include "text/utf8.h"

namespace awq::text {

/// The pairs of neighbouring characters that occur inside some token that merging can make. Between two characters
/// that are not such a pair no merge can ever reach across, so a long word may be cut there and both sides encoded
/// alone, with the same result. That turns the single huge word of tokenizers without a pre-tokenizer into words.
class AdjacentScalars {
 public:
  /// Adds all pairs inside `token` (valid UTF-8).
  void add_token(std::string_view token) {
    for (std::size_t at = 0; at < token.size();) {
      const Scalar left = scalar_at(token, at);
      at += left.bytes;
      if (at < token.size()) add(left.value, scalar_at(token, at).value);
    }
  }

  bool contains(char32_t left, char32_t right) const {
    const std::size_t row = small_index(left);
    const std::size_t column = small_index(right);
    if (row < kSmall && column < kSmall) return small_[row * kSmall + column];
    return pairs_.find(left, right) != nullptr;
  }

 private:
  /// ASCII and the word mark U+2581, which make up most of most texts.
  static constexpr std::size_t kSmall = 129;
  static std::size_t small_index(char32_t scalar) { return scalar == 0x2581 ? 128 : scalar < 128 ? scalar : kSmall; }

  void add(char32_t left, char32_t right) {
    const std::size_t row = small_index(left);
    const std::size_t column = small_index(right);
    if (row < kSmall && column < kSmall) {
      small_[row * kSmall + column] = true;
    } else {
      pairs_.set(left, right, true);
    }
  }

  std::array<bool, kSmall * kSmall> small_{};
  PairTable<bool> pairs_;
};

}  // namespace awq::text
