#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/hash.h"

namespace awq::text {

/// Byte strings to numbers: one flat table with linear probing over one arena, so that a lookup of a token touches two
/// cache lines.
class StringTable {
 public:
  explicit StringTable(std::size_t expected_keys = 0);

  /// False, and no change, when the key is there already. Throws kUnsupported beyond 4 GiB of keys.
  bool insert(std::string_view key, std::int32_t value);
  std::optional<std::int32_t> find(std::string_view key) const;
  std::size_t size() const { return count_; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t begin = 0;
    std::uint32_t length = 0;
    std::int32_t value = kEmpty;
  };
  static constexpr std::int32_t kEmpty = -1;

  std::string_view key_of(const Slot& slot) const { return std::string_view(arena_).substr(slot.begin, slot.length); }
  void grow();

  std::vector<Slot> slots_;  ///< size is a power of two, at most half full
  std::string arena_;
  std::size_t count_ = 0;
};

/// Pairs of 32-bit numbers to `Value`, same layout. Each key may be set again; the last value stays.
template <typename Value>
class PairTable {
 public:
  explicit PairTable(std::size_t expected_keys = 0) { slots_.resize(capacity_for(expected_keys)); }

  void set(std::uint32_t left, std::uint32_t right, const Value& value) {
    if ((count_ + 1) * 2 > slots_.size()) grow();
    Slot& slot = slots_[slot_of(key_of(left, right))];
    if (slot.key == kNoKey) ++count_;
    slot.key = key_of(left, right);
    slot.value = value;
  }

  /// Null when the pair is not there. (0xFFFFFFFF, 0xFFFFFFFF) cannot be a key.
  const Value* find(std::uint32_t left, std::uint32_t right) const {
    const Slot& slot = slots_[slot_of(key_of(left, right))];
    return slot.key == kNoKey ? nullptr : &slot.value;
  }

  std::size_t size() const { return count_; }

 private:
  static constexpr std::uint64_t kNoKey = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kNoKey;
    Value value{};
  };

  static std::uint64_t key_of(std::uint32_t left, std::uint32_t right) {
    return (static_cast<std::uint64_t>(left) << 32) | right;
  }

  static std::size_t capacity_for(std::size_t keys) {
    std::size_t capacity = 16;
    while (capacity < keys * 2 + 2) capacity *= 2;
    return capacity;
  }

  /// Index of the key, or of the empty slot where it would go.
  std::size_t slot_of(std::uint64_t key) const {
    const std::uint64_t mixed = fold_multiply(key ^ hash_key_, 0x9E3779B97F4A7C15ULL);
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(mixed) & mask;
    while (slots_[at].key != key && slots_[at].key != kNoKey) at = (at + 1) & mask;
    return at;
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key != kNoKey) slots_[slot_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;  ///< size is a power of two, at most half full
  std::size_t count_ = 0;
  std::uint64_t hash_key_ = process_hash_key();
};

}  // namespace awq::text
