#include "text/vocab.h"

#include "base/check.h"

namespace awq::text {

Vocab::Added Vocab::add(std::string_view token, std::int32_t id) {
  AWQ_CHECK(id >= 0 && id <= kMaxTokenId);
  if (has(id)) return Added::kIdTwice;
  if (!ids_.insert(token, id)) return Added::kTokenTwice;
  const std::size_t index = static_cast<std::size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  tokens_[index] = {arena_.size(), static_cast<std::uint32_t>(token.size()), true};
  arena_.append(token);
  return Added::kOk;
}

std::string_view Vocab::token(std::int32_t id) const {
  if (!has(id)) return {};
  const Entry& entry = tokens_[static_cast<std::size_t>(id)];
  return std::string_view(arena_).substr(entry.begin, entry.length);
}

}  // namespace awq::text
