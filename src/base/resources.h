#pragma once

#include <cstdint>
#include <optional>

namespace awq {

/// Largest resident set of this process so far, in bytes.
std::uint64_t peak_rss_bytes();
/// Lets peak_rss_bytes() start again from what is resident now. False where the system does not allow that.
bool reset_peak_rss();
/// Memory that can still be used without swapping, within the container's limit; nothing where it cannot be told.
std::optional<std::uint64_t> available_memory_bytes();
/// Seconds on a clock that never goes back.
double monotonic_seconds();

}  // namespace awq
