#include <initializer_list>

#include "kernels/cuda/w4_kernels.h"

namespace awq::kernels::cuda {
namespace {

std::uint64_t no_workspace(const W4Layout& /*layout*/, std::int64_t /*m*/, const DeviceLimits& /*limits*/) { return 0; }

template <W4Kind kKind, int kTokens>
constexpr W4Kernel wgmma_row(const char* name) {
  return {name,
          {kKind, kTokens, 1},
          wgmma_objection,
          wgmma_workspace,
          [](const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
            return wgmma_run(problem, limits, stream, kTokens, kKind == W4Kind::kWgmmaPairs);
          }};
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

template <int kBlocks>
constexpr W4Kernel many_row(const char* name) {
  return {name,
          {W4Kind::kMany, 128, kBlocks},
          [](const W4Problem& problem, const DeviceLimits& limits) { return many_objection(problem, limits, kBlocks); },
          [](const W4Layout& layout, std::int64_t m, const DeviceLimits& limits) {
            return many_workspace(layout, m, limits, kBlocks);
          },
          [](const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
            return many_run(problem, limits, stream, kBlocks);
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

constexpr W4Kernel kTable[] = {
    {"small", {W4Kind::kSmall, 0, 1}, small_objection, no_workspace, small_run},
    wgmma_row<W4Kind::kWgmma, 64>("wgmma-64"),
    wgmma_row<W4Kind::kWgmma, 128>("wgmma-128"),
    wgmma_row<W4Kind::kWgmmaPairs, 128>("wgmma-128-pairs"),
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
    many_row<3>("many-128-split3"),
    many_row<4>("many-128-split4"),
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

constexpr bool has_row_of_every(W4Kind kind, std::initializer_list<int> tokens, std::initializer_list<int> blocks) {
  for (const int t : tokens) {
    for (const int b : blocks) {
      if (row_of({kind, t, b}) < 0) return false;
    }
  }
  return true;
}
// All that hopper_choice() and mma_choose() name.
static_assert(has_row_of_every(W4Kind::kSmall, {0}, {1}));
static_assert(has_row_of_every(W4Kind::kMma, {8, 16, 32, 64}, {1}));
static_assert(has_row_of_every(W4Kind::kWide, {16, 32, 64}, {1, 2, 4, 8}));
static_assert(has_row_of_every(W4Kind::kMany, {128}, {3, 4}));
static_assert(has_row_of_every(W4Kind::kWgmma, {64, 128}, {1}));
static_assert(has_row_of_every(W4Kind::kWgmmaPairs, {128}, {1}));

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
