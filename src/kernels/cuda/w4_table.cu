#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_wgmma.h"

namespace awq::kernels::cuda {
namespace {

std::uint64_t no_workspace(const W4Layout& /*layout*/, std::int64_t /*m*/, const DeviceLimits& /*limits*/) { return 0; }

template <int kTokens, WgmmaSharing kSharing, int kCluster>
const char* wgmma_row_objection(const W4Problem& problem, const DeviceLimits& limits) {
  return wgmma_objection(problem, limits, kTokens, static_cast<int>(kSharing), kCluster);
}
template <int kTokens, WgmmaSharing kSharing, int kCluster>
int wgmma_row_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  return wgmma_run(problem, limits, stream, kTokens, static_cast<int>(kSharing), kCluster);
}
template <int kTokens, WgmmaSharing kSharing, int kCluster>
constexpr W4Kernel wgmma_row(const char* name) {
  constexpr W4Kind kKind = kSharing == WgmmaSharing::kStripesPairs ? W4Kind::kWgmmaPairs : W4Kind::kWgmma;
  constexpr int kBlocks = kSharing == WgmmaSharing::kCluster ? kCluster : 1;
  return {name,
          {kKind, kTokens, kBlocks},
          wgmma_row_objection<kTokens, kSharing, kCluster>,
          kSharing == WgmmaSharing::kCluster ? no_workspace : wgmma_workspace,
          wgmma_row_run<kTokens, kSharing, kCluster>};
}

template <int kTokens, int kBlocks>
constexpr W4Kernel wide_row(const char* name) {
  return {name,
          {W4Kind::kWide, kTokens, kBlocks},
          [](const W4Problem& problem, const DeviceLimits& limits) {
            return wide_objection(problem, limits, kTokens, kBlocks);
          },
          [](const W4Layout& layout, std::int64_t m, const DeviceLimits& limits) {
            return wide_workspace(layout, m, limits, kTokens, kBlocks);
          },
          [](const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
            return wide_run(problem, limits, stream, kTokens, kBlocks);
          }};
}

template <int kTokens>
constexpr W4Kernel mma_row(const char* name) {
  return {name,
          {W4Kind::kMma, kTokens, 1},
          [](const W4Problem& problem, const DeviceLimits& limits) { return mma_objection(problem, limits, kTokens); },
          [](const W4Layout& layout, std::int64_t m, const DeviceLimits& limits) {
            return mma_workspace(layout, m, limits, kTokens);
          },
          [](const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
            return mma_run(problem, limits, stream, kTokens);
          }};
}

constexpr auto kStripes = WgmmaSharing::kStripes;
constexpr auto kPairs = WgmmaSharing::kStripesPairs;
constexpr auto kCluster = WgmmaSharing::kCluster;

constexpr W4Kernel kTable[] = {
    {"small", {W4Kind::kSmall, 0, 1}, small_objection, no_workspace, small_run},
    wgmma_row<8, kStripes, 1>("wgmma-8"),
    wgmma_row<8, kCluster, 2>("wgmma-8-cluster2"),
    wgmma_row<8, kCluster, 4>("wgmma-8-cluster4"),
    wgmma_row<8, kCluster, 8>("wgmma-8-cluster8"),
    wgmma_row<16, kStripes, 1>("wgmma-16"),
    wgmma_row<16, kCluster, 2>("wgmma-16-cluster2"),
    wgmma_row<16, kCluster, 4>("wgmma-16-cluster4"),
    wgmma_row<16, kCluster, 8>("wgmma-16-cluster8"),
    wgmma_row<32, kStripes, 1>("wgmma-32"),
    wgmma_row<32, kPairs, 2>("wgmma-32-pairs"),
    wgmma_row<32, kCluster, 2>("wgmma-32-cluster2"),
    wgmma_row<32, kCluster, 4>("wgmma-32-cluster4"),
    wgmma_row<32, kCluster, 8>("wgmma-32-cluster8"),
    wgmma_row<64, kStripes, 1>("wgmma-64"),
    wgmma_row<64, kPairs, 2>("wgmma-64-pairs"),
    wgmma_row<64, kCluster, 2>("wgmma-64-cluster2"),
    wgmma_row<64, kCluster, 4>("wgmma-64-cluster4"),
    wgmma_row<64, kCluster, 8>("wgmma-64-cluster8"),
    wgmma_row<128, kStripes, 1>("wgmma-128"),
    wgmma_row<128, kPairs, 2>("wgmma-128-pairs"),
    wide_row<16, 1>("wide-16"),
    wide_row<16, 2>("wide-16-split2"),
    wide_row<16, 4>("wide-16-split4"),
    wide_row<16, 8>("wide-16-split8"),
    wide_row<32, 1>("wide-32"),
    wide_row<32, 2>("wide-32-split2"),
    wide_row<32, 4>("wide-32-split4"),
    wide_row<32, 8>("wide-32-split8"),
    wide_row<64, 1>("wide-64"),
    wide_row<64, 2>("wide-64-split2"),
    wide_row<64, 4>("wide-64-split4"),
    wide_row<64, 8>("wide-64-split8"),
    mma_row<8>("mma-8"),
    mma_row<16>("mma-16"),
    mma_row<32>("mma-32"),
    mma_row<64>("mma-64"),
    {nullptr, {}, nullptr, nullptr, nullptr},
};

/// The row, or -1.
constexpr int row_of(const W4Choice& choice) {
  for (int i = 0; kTable[i].name != nullptr; ++i) {
    if (kTable[i].choice == choice) return i;
  }
  return -1;
}

/// The row where Hopper's matrix instructions are not there, or not for this problem.
int mma_choose(const W4Problem& problem, const DeviceLimits& limits) {
  if (small_objection(problem, limits) == nullptr) return row_of({W4Kind::kSmall, 0, 1});
  return row_of({W4Kind::kMma, problem.m <= 8 ? 8 : problem.m <= 16 ? 16 : problem.m <= 32 ? 32 : 64, 1});
}

// Every kernel that a choice can name without looking whether it runs.
static_assert(row_of({W4Kind::kSmall, 0, 1}) >= 0);
static_assert(row_of({W4Kind::kMma, 8, 1}) >= 0 && row_of({W4Kind::kMma, 16, 1}) >= 0 &&
              row_of({W4Kind::kMma, 32, 1}) >= 0 && row_of({W4Kind::kMma, 64, 1}) >= 0);
static_assert(row_of({W4Kind::kWgmma, 8, 1}) >= 0 && row_of({W4Kind::kWgmma, 64, 4}) >= 0 &&
              row_of({W4Kind::kWgmma, 128, 1}) >= 0 && row_of({W4Kind::kWgmmaPairs, 128, 1}) >= 0);

}  // namespace

const W4Kernel* w4_kernels() { return kTable; }

int w4_choose(const W4Problem& problem, const DeviceLimits& limits) {
  if (limits.capability == 90) {
    const bool fits = small_objection(problem, limits) == nullptr;
    const W4Choice choice = hopper_choice(problem.layout, problem.m, limits.multiprocessors, fits);
    const int index = row_of(choice);
    if (index >= 0 && kTable[index].objection(problem, limits) == nullptr) return index;
  }
  return mma_choose(problem, limits);
}

}  // namespace awq::kernels::cuda
