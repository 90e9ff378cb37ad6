#include <cstdio>
#include <cstring>

#include "kernels/cuda/w4_choose.h"
#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_wgmma.h"

namespace awq::kernels::cuda {
namespace {

std::uint64_t no_workspace(const W4Layout& /*layout*/, std::int64_t /*m*/, const DeviceLimits& /*limits*/) { return 0; }

template <int kTogether>
constexpr W4Kernel small_row(const char* name) {
  return {
      name,
      [](const W4Problem& problem, const DeviceLimits& limits) { return small_objection(problem, limits, kTogether); },
      no_workspace,
      [](const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
        return small_run(problem, limits, stream, kTogether);
      }};
}

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
  return {name, wgmma_row_objection<kTokens, kSharing, kCluster>,
          kSharing == WgmmaSharing::kCluster ? no_workspace : wgmma_workspace,
          wgmma_row_run<kTokens, kSharing, kCluster>};
}

constexpr auto kStripes = WgmmaSharing::kStripes;
constexpr auto kPairs = WgmmaSharing::kStripesPairs;
constexpr auto kCluster = WgmmaSharing::kCluster;

constexpr W4Kernel kTable[] = {
    small_row<1>("small"),
    small_row<2>("small-twice"),
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
    {nullptr, nullptr, nullptr, nullptr},
};

/// The row with this name, or -1.
int row_of(const W4Choice& choice) {
  char name[32];
  switch (choice.kind) {
    case W4Kind::kSmall:
      std::snprintf(name, sizeof name, choice.blocks == 2 ? "small-twice" : "small");
      break;
    case W4Kind::kWgmmaPairs:
      std::snprintf(name, sizeof name, "wgmma-%d-pairs", choice.tokens);
      break;
    case W4Kind::kWgmma:
      std::snprintf(name, sizeof name, choice.blocks == 1 ? "wgmma-%d" : "wgmma-%d-cluster%d", choice.tokens,
                    choice.blocks);
      break;
  }
  for (int i = 0; kTable[i].name != nullptr; ++i) {
    if (std::strcmp(kTable[i].name, name) == 0) return i;
  }
  return -1;
}

}  // namespace

const W4Kernel* w4_kernels() { return kTable; }

int w4_choose(const W4Problem& problem, const DeviceLimits& limits) {
  const auto runs = [&](int i) { return kTable[i].objection(problem, limits) == nullptr; };
  if (limits.capability == 90) {
    const bool fits = small_objection(problem, limits, 1) == nullptr;
    const bool fits_twice = small_objection(problem, limits, 2) == nullptr;
    const W4Choice choice = hopper_choice(problem.layout, problem.m, limits.multiprocessors, fits, fits_twice);
    const int index = row_of(choice);
    if (index >= 0 && runs(index)) return index;
  }
  int last = 0;
  for (int i = 0; kTable[i].name != nullptr; ++i) {
    last = i;
    if (runs(i)) return i;
  }
  return last;
}

}  // namespace awq::kernels::cuda
