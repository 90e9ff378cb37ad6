#include "base/resources.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

namespace awq {
namespace {

/// The number behind a name that begins a line.
std::optional<std::uint64_t> read_word(const char* path, const std::string& name) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t value = 0;
  std::string line;
  while (file >> key) {
    if (key == name && file >> value) return value;
    std::getline(file, line);
  }
  return std::nullopt;
}

/// The value of a "Name:   123 kB" line, in bytes.
std::optional<std::uint64_t> read_kilobytes(const char* path, const std::string& name) {
  const auto value = read_word(path, name);
  return value ? std::optional(*value * 1024) : std::nullopt;
}

std::optional<std::uint64_t> read_number(const char* path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
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
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used && available) {
    // What the group has read of files counts as used, but goes when memory is asked for.
    const std::uint64_t cached = read_word("/sys/fs/cgroup/memory.stat", "active_file").value_or(0) +
                                 read_word("/sys/fs/cgroup/memory.stat", "inactive_file").value_or(0);
    const std::uint64_t held = *used - std::min(*used, cached);
    available = std::min(*available, *limit - std::min(*limit, held));
  }
  return available;
}

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace awq
