// Limits of control groups, from folders that look like the system's.

#include "base/cgroup.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/resources.h"
#include "support/temp_folder.h"

namespace awq {
namespace {

class Cgroup : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_.path() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  CgroupPaths paths() const { return {folder_ / "self", folder_ / "mounts"}; }

 private:
  test::TempFolder folder_;
};

TEST_F(Cgroup, NoFilesAreNoLimit) {
  EXPECT_EQ(cgroup_processors(paths()), std::nullopt);
  EXPECT_EQ(cgroup_free_bytes(paths()), std::nullopt);
  write("self", "0::/user/one\n");
  write("mounts/cpu.max", "max 100000\n");
  write("mounts/user/one/memory.max", "max\n");
  write("mounts/user/one/memory.current", "1000\n");
  EXPECT_EQ(cgroup_processors(paths()), std::nullopt);
  EXPECT_EQ(cgroup_free_bytes(paths()), std::nullopt);
}

TEST_F(Cgroup, TheRootOfAContainer) {
  write("self", "0::/\n");
  write("mounts/cpu.max", "250000 100000\n");
  write("mounts/memory.max", "5000\n");
  write("mounts/memory.current", "3000\n");
  write("mounts/memory.stat", "anon 7\nactive_file 1000\ninactive_file 500\n");
  EXPECT_EQ(cgroup_processors(paths()), 2.5);
  EXPECT_EQ(cgroup_free_bytes(paths()), 3500U);
}

TEST_F(Cgroup, TheLeastOfNestedGroups) {
  write("self", "0::/slice/service/inner\n");
  write("mounts/slice/cpu.max", "150000 100000\n");
  write("mounts/slice/service/cpu.max", "400000 100000\n");
  write("mounts/slice/service/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_processors(paths()), 1.5);
  write("mounts/slice/memory.max", "9000\n");
  write("mounts/slice/memory.current", "8000\n");
  write("mounts/slice/service/memory.max", "4000\n");
  write("mounts/slice/service/memory.current", "100\n");
  EXPECT_EQ(cgroup_free_bytes(paths()), 1000U);
  write("mounts/slice/service/inner/memory.max", "50\n");
  write("mounts/slice/service/inner/memory.current", "100\n");  // over its limit: nothing is left
  EXPECT_EQ(cgroup_free_bytes(paths()), 0U);
}

TEST_F(Cgroup, AGroupBesideIsNotOurs) {
  write("self", "0::/ours\n");
  write("mounts/other/cpu.max", "100000 100000\n");
  write("mounts/ours/cpu.max", "300000 100000\n");
  EXPECT_EQ(cgroup_processors(paths()), 3);
}

TEST_F(Cgroup, VersionOne) {
  write("self", "4:memory:/box\n3:cpu,cpuacct:/box/inner\n1:name=systemd:/\n");
  write("mounts/cpu,cpuacct/box/cpu.cfs_quota_us", "200000\n");
  write("mounts/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  write("mounts/cpu,cpuacct/box/inner/cpu.cfs_quota_us", "-1\n");
  write("mounts/cpu,cpuacct/box/inner/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_processors(paths()), 2);
  write("mounts/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("mounts/memory/memory.usage_in_bytes", "123456\n");
  write("mounts/memory/box/memory.limit_in_bytes", "7000\n");
  write("mounts/memory/box/memory.usage_in_bytes", "6000\n");
  write("mounts/memory/box/memory.stat", "active_file 1\ntotal_active_file 200\ntotal_inactive_file 300\n");
  EXPECT_EQ(cgroup_free_bytes(paths()), 1500U);
}

TEST_F(Cgroup, BothVersions) {
  write("self", "1:cpu:/a\n0::/b\n");
  write("mounts/cpu/a/cpu.cfs_quota_us", "500000\n");
  write("mounts/cpu/a/cpu.cfs_period_us", "100000\n");
  write("mounts/unified/b/cpu.max", "400000 100000\n");
  EXPECT_EQ(cgroup_processors(paths()), 4);
}

TEST_F(Cgroup, AContainerThatSeesItsOwnGroupAsTheRoot) {
  write("self", "1:cpu:/host/path/of/it\n0::/../../elsewhere\n");
  write("mounts/cpu/cpu.cfs_quota_us", "100000\n");
  write("mounts/cpu/cpu.cfs_period_us", "100000\n");
  write("mounts/cpu.max", "50000 100000\n");
  write("elsewhere/cpu.max", "10000 100000\n");  // outside of the mount
  EXPECT_EQ(cgroup_processors(paths()), 0.5);
}

TEST_F(Cgroup, NonsenseIsNoLimit) {
  write("self", "junk\n0::/x\n");
  write("mounts/x/cpu.max", "abc\n");
  write("mounts/cpu.max", "100000 0\n");
  write("mounts/x/memory.max", "-\n");
  EXPECT_EQ(cgroup_processors(paths()), std::nullopt);
  EXPECT_EQ(cgroup_free_bytes(paths()), std::nullopt);
}

TEST(Resources, ThereIsMemoryLeftHere) {
  const auto available = available_memory_bytes();
  ASSERT_TRUE(available.has_value());
  EXPECT_GT(*available, std::uint64_t{1} << 20);
}

}  // namespace
}  // namespace awq
