#include "text/hash.h"

#include <cstring>
#include <random>

namespace awq::text {

std::uint64_t process_hash_key() {
  static const std::uint64_t key = [] {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32) | device();
  }();
  return key;
}

std::uint32_t hash_bytes(std::string_view bytes) {
  constexpr std::uint64_t kA = 0xA0761D6478BD642FULL;
  constexpr std::uint64_t kB = 0xE7037ED1A0B428DBULL;
  std::uint64_t state = process_hash_key() ^ fold_multiply(bytes.size() ^ kA, kB);
  while (bytes.size() > 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    state = fold_multiply(state ^ word, kB);
    bytes.remove_prefix(8);
  }
  std::uint64_t tail = 0;
  if (!bytes.empty()) std::memcpy(&tail, bytes.data(), bytes.size());
  state = fold_multiply(state ^ tail ^ kA, kB);
  return static_cast<std::uint32_t>(state ^ (state >> 32));
}

}  // namespace awq::text
