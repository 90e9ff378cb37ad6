#include "base/cgroup.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>

#include "base/read_words.h"

namespace awq {
namespace {

namespace fs = std::filesystem;

/// "/path" of the group of this process in the tree of `controller`; "cpu" is also found in "cpu,cpuacct".
std::optional<std::string> group_of(const fs::path& membership, const std::string& controller) {
  std::ifstream file(membership);
  std::string line;
  while (std::getline(file, line)) {  // number:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string names(1, ',');
    names.append(line, first + 1, second - first - 1).push_back(',');
    if (controller.empty() ? names == ",," : names.find(',' + controller + ',') != std::string::npos) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

/// Visits the folders of a group and of all groups above it. In a container the tree may be mounted from its own group
/// on, while the path is the host's: folders that are not there have no files, and the root is always visited.
void visit_upwards(const fs::path& root, const std::string& group, const std::function<void(const fs::path&)>& visit) {
  fs::path relative = fs::path(group).relative_path().lexically_normal();
  if (!relative.empty() && *relative.begin() == "..") relative.clear();
  for (; !relative.empty() && relative != "."; relative = relative.parent_path()) visit(root / relative);
  visit(root);
}

template <typename T>
void lower(std::optional<T>& least, std::optional<T> value) {
  if (value && (!least || *value < *least)) least = value;
}

/// The least of what `read` finds in the folders of `controller`, in each place where its tree may be mounted.
template <typename T>
std::optional<T> least_of(const CgroupPaths& paths, const std::string& controller,
                          std::initializer_list<const char*> mounts,
                          const std::function<std::optional<T>(const fs::path&)>& read) {
  std::optional<T> least;
  const std::optional<std::string> group = group_of(paths.membership, controller);
  for (const char* mount : mounts) {
    visit_upwards(paths.mounts / mount, group.value_or("/"),
                  [&](const fs::path& folder) { lower(least, read(folder)); });
  }
  return least;
}

std::optional<double> quota_v2(const fs::path& folder) {
  std::ifstream file(folder / "cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return std::nullopt;
  return std::strtod(quota.c_str(), nullptr) / period;
}

std::optional<double> quota_v1(const fs::path& folder) {
  std::ifstream quota_file(folder / "cpu.cfs_quota_us"), period_file(folder / "cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

/// The files of a version that tell of memory.
struct MemoryFiles {
  const char *limit, *used, *active_files, *inactive_files;
};
constexpr MemoryFiles kMemoryV2{"memory.max", "memory.current", "active_file", "inactive_file"};
constexpr MemoryFiles kMemoryV1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_active_file",
                                "total_inactive_file"};

std::optional<std::uint64_t> free_bytes(const fs::path& folder, const MemoryFiles& files) {
  const auto limit = read_number(folder / files.limit);
  const auto used = read_number(folder / files.used);
  if (!limit || !used) return std::nullopt;
  // What the group has read of files counts as used, but goes when memory is asked for.
  const fs::path stat = folder / "memory.stat";
  const std::uint64_t cached =
      read_word(stat, files.active_files).value_or(0) + read_word(stat, files.inactive_files).value_or(0);
  const std::uint64_t held = *used - std::min(*used, cached);
  return *limit - std::min(*limit, held);
}

}  // namespace

// With both versions mounted, the tree of version 2 lies in "unified".
std::optional<double> cgroup_processors(const CgroupPaths& paths) {
  std::optional<double> least = least_of<double>(paths, "", {"", "unified"}, quota_v2);
  lower(least, least_of<double>(paths, "cpu", {"cpu", "cpu,cpuacct"}, quota_v1));
  return least;
}

std::optional<std::uint64_t> cgroup_free_bytes(const CgroupPaths& paths) {
  std::optional<std::uint64_t> least = least_of<std::uint64_t>(
      paths, "", {"", "unified"}, [](const fs::path& folder) { return free_bytes(folder, kMemoryV2); });
  lower(least, least_of<std::uint64_t>(paths, "memory", {"memory"},
                                       [](const fs::path& folder) { return free_bytes(folder, kMemoryV1); }));
  return least;
}

}  // namespace awq
