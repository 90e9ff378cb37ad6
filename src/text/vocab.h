#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/string_table.h"

namespace awq::text {

/// No vocabulary in use has more than about 300 thousand tokens. The cap keeps one absurd id in a small file from
/// allocating gigabytes.
inline constexpr std::int32_t kMaxTokenId = (1 << 22) - 1;

/// Tokens in both directions. Ids may have holes.
class Vocab {
 public:
  enum class Added { kOk, kTokenTwice, kIdTwice };

  explicit Vocab(std::size_t expected_tokens = 0) : ids_(expected_tokens) {}

  /// Requires 0 <= id <= kMaxTokenId. Anything but kOk changes nothing.
  Added add(std::string_view token, std::int32_t id);

  std::optional<std::int32_t> find(std::string_view token) const { return ids_.find(token); }
  bool has(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < tokens_.size() && tokens_[static_cast<std::size_t>(id)].in_use;
  }
  /// Empty for an id that is not in use.
  std::string_view token(std::int32_t id) const;
  /// One more than the largest id in use.
  std::int32_t end_id() const { return static_cast<std::int32_t>(tokens_.size()); }
  std::size_t count() const { return ids_.size(); }

 private:
  struct Entry {
    std::size_t begin = 0;
    std::uint32_t length = 0;
    bool in_use = false;
  };
  StringTable ids_;
  std::vector<Entry> tokens_;  ///< by id
  std::string arena_;
};

}  // namespace awq::text
