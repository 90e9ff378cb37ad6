#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace awq {

/// Where the system tells of control groups: the groups of this process, and the folder that their trees are mounted
/// in.
struct CgroupPaths {
  std::filesystem::path membership = "/proc/self/cgroup";
  std::filesystem::path mounts = "/sys/fs/cgroup";
};

/// Processors whose time the groups of this process may use (2.5: two and a half): the least quota from its own group
/// up to the root, in version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). Nothing without a quota.
std::optional<double> cgroup_processors(const CgroupPaths& paths = {});
/// Bytes of memory that these groups leave, again the least on the way up; pages of files that a group holds count as
/// free. Nothing without a limit.
std::optional<std::uint64_t> cgroup_free_bytes(const CgroupPaths& paths = {});

}  // namespace awq
