#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace awq::text {

/// A pattern of a tokenizer.json, written for Oniguruma (Ruby syntax), run by PCRE2. Constructs that the two read
/// differently are translated or refused. Safe from many threads.
class SplitRegex {
 public:
  /// `where` ("file: field") is used in messages. Throws kUnsupported when the pattern cannot be used.
  SplitRegex(const std::string& pattern, const std::string& where);
  ~SplitRegex();
  SplitRegex(SplitRegex&&) noexcept;
  SplitRegex& operator=(SplitRegex&&) noexcept;

  /// Calls `found(begin, end)` for each match of `text` (valid UTF-8) from left to right; matches may be empty.
  /// Throws kUnsupported when the pattern backtracks without end.
  void for_each(std::string_view text, const std::function<void(std::size_t, std::size_t)>& found) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
  std::string where_;
};

/// The pattern in PCRE2 syntax. Throws kUnsupported for what has no equal there.
std::string translate_pattern(const std::string& pattern, const std::string& where);

}  // namespace awq::text
