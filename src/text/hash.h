#pragma once

#include <cstdint>
#include <string_view>

namespace awq::text {

/// A number drawn once per process. Hash tables mix it in, so that a vocabulary made to collide cannot make loading
/// quadratic. It never shows in a result: nothing depends on the order of a table.
std::uint64_t process_hash_key();

/// High and low half of a 128-bit product folded together: every input bit reaches every output bit.
inline std::uint64_t fold_multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint32_t hash_bytes(std::string_view bytes);

}  // namespace awq::text
