#include "base/resources.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

#include "base/cgroup.h"
#include "base/read_words.h"

namespace awq {
namespace {

/// The value of a "Name:   123 kB" line, in bytes.
std::optional<std::uint64_t> read_kilobytes(const char* path, const std::string& name) {
  const auto value = read_word(path, name);
  return value ? std::optional(*value * 1024) : std::nullopt;
}

}  // namespace

// VmHWM and not getrusage: the latter keeps the peak of the program that started this one.
std::uint64_t peak_rss_bytes() { return read_kilobytes("/proc/self/status", "VmHWM:").value_or(0); }

bool reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return static_cast<bool>(file);
}

std::optional<std::uint64_t> available_memory_bytes() {
  std::optional<std::uint64_t> available = read_kilobytes("/proc/meminfo", "MemAvailable:");
  const auto left = cgroup_free_bytes();
  if (left && available) available = std::min(*available, *left);
  return available;
}

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace awq
