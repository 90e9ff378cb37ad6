#include "text/string_table.h"

#include <limits>

#include "base/check.h"
#include "text/hash.h"

namespace awq::text {
namespace {

std::size_t capacity_for(std::size_t keys) {
  std::size_t capacity = 16;
  while (capacity < keys * 2 + 2) capacity *= 2;
  return capacity;
}

}  // namespace

StringTable::StringTable(std::size_t expected_keys) : slots_(capacity_for(expected_keys)) {}

bool StringTable::insert(std::string_view key, std::int32_t value) {
  AWQ_CHECK(value >= 0);
  if (key.size() > std::numeric_limits<std::uint32_t>::max() - arena_.size()) {
    fail(ErrorCode::kUnsupported, "the token strings need more than 4 GiB");
  }
  if ((count_ + 1) * 2 > slots_.size()) grow();
  const std::uint32_t hash = hash_bytes(key);
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (slots_[at].value != kEmpty) {
    if (slots_[at].hash == hash && key_of(slots_[at]) == key) return false;
    at = (at + 1) & mask;
  }
  slots_[at] = {hash, static_cast<std::uint32_t>(arena_.size()), static_cast<std::uint32_t>(key.size()), value};
  arena_.append(key);
  ++count_;
  return true;
}

std::optional<std::int32_t> StringTable::find(std::string_view key) const {
  const std::uint32_t hash = hash_bytes(key);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask; slots_[at].value != kEmpty; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash == hash && key_of(slot) == key) return slot.value;
  }
  return std::nullopt;
}

void StringTable::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.value == kEmpty) continue;
    std::size_t at = slot.hash & mask;
    while (slots_[at].value != kEmpty) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

}  // namespace awq::text
