#include "text/added_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

bool is_inside_word(std::string_view text, std::size_t begin, std::size_t end) {
  return (begin > 0 && is_word(scalar_before(text, begin).value)) ||
         (end < text.size() && is_word(scalar_at(text, end).value));
}

std::size_t skip_space_left(std::string_view text, std::size_t begin, std::size_t limit) {
  while (begin > limit) {
    const Scalar scalar = scalar_before(text, begin);
    if (!is_white_space(scalar.value)) break;
    begin -= scalar.bytes;
  }
  return std::max(begin, limit);
}

std::size_t skip_space_right(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    const Scalar scalar = scalar_at(text, end);
    if (!is_white_space(scalar.value)) break;
    end += scalar.bytes;
  }
  return end;
}

}  // namespace

void AddedTokenSet::add(std::string content, const AddedToken& token) {
  if (content.size() > LiteralSet::kMaxLength) {
    fail(ErrorCode::kUnsupported, "added token {} has {} bytes, expected at most {}", token.id, content.size(),
         LiteralSet::kMaxLength);
  }
  if (!content.empty()) by_content_.insert_or_assign(std::move(content), token);
}

void AddedTokenSet::finish() {
  std::vector<std::string> contents;
  for (const auto& [content, token] : by_content_) {
    contents.push_back(content);
    tokens_.push_back(&token);
  }
  literals_ = LiteralSet(std::move(contents));
}

// The search goes on right behind a match, not behind the white space that it swallowed, and an overlap with that is
// let stand: that is how the reference behaves.
void AddedTokenSet::split(std::string_view text, bool match_special, std::vector<TextPart>& out) const {
  std::size_t done = 0;
  std::size_t swallowed = 0;  // white space up to here was looked at already: keeps runs of rstrip tokens linear
  for (std::size_t at = 0; const std::optional<LiteralSet::Match> match = literals_.find(text, at);) {
    at = match->end;
    const AddedToken& token = *tokens_[match->index];
    if (token.special && !match_special) continue;
    if (token.single_word && is_inside_word(text, match->begin, match->end)) continue;
    std::size_t begin = match->begin;
    std::size_t end = match->end;
    if (token.lstrip) begin = std::max(done, skip_space_left(text, begin, std::min(done, begin)));
    if (token.rstrip) {
      end = end < swallowed ? swallowed : skip_space_right(text, end);
      swallowed = end;
    }
    if (done < begin) out.push_back({done, begin, -1});
    out.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
}

}  // namespace awq::text
