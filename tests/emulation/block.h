#pragma once

#include <setjmp.h>

#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

/// What the scheduler (emulator.cpp) and Hopper's instructions (hopper.cpp) know of blocks and their threads.
namespace cuda_emulation {

inline constexpr unsigned kLanes = 32;
inline constexpr unsigned kNamedBarriers = 16;
inline constexpr unsigned kMostTokens = 128;  ///< columns of a product of a warpgroup

/// A thread that rests lets the other warps run first.
enum class State { kReady, kResting, kAtWarp, kAtBlock, kAtNamed, kAtBytes, kAtCluster, kAtOthers, kDone };

struct Copy {
  void* to;
  const void* from;
  int bytes;
  int group;
};

/// A product of a warpgroup that nobody has waited for, as one thread sees it: what it was issued with.
struct IssuedProduct {
  const std::uint32_t* a;
  std::uint32_t a_then[4];
  std::uint64_t b;
  unsigned tokens;
  int group;
  std::uint16_t b_then[kMostTokens / 2];  // this thread's share
};
struct Products {
  std::vector<IssuedProduct> issued;  // in order
  bool fenced = false;
  int group = 0;        // the open one
  float* to = nullptr;  // where the sums of those issued belong
  unsigned values = 0;  // how many
  float sums[kMostTokens / 2];
};

struct Thread {
  std::unique_ptr<char[]> stack;
  jmp_buf place;
  State state = State::kReady;
  bool started = false;         // has a context
  std::uint64_t given[2] = {};  // of the exchanges so far, in turn
  unsigned exchanges = 0;
  std::vector<Copy> copies;  // that are not done, in order
  int group = 0;             // the open one
  Products products;
  int named = 0;                          // barrier that it waits at (kAtNamed)
  const std::uint8_t* barrier = nullptr;  // likewise (kAtBytes), and the parity of the phase
  std::uint32_t parity = 0;
};

/// Of the engine for bulk copies.
struct BulkCopy {
  std::uint8_t* barrier;
  std::uint32_t bytes;
  std::function<void()> work;
};

struct NamedBarrier {
  unsigned arrived = 0;
  unsigned threads = 0;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<std::uint32_t> words[2];  // exchanged, [thread][kLaneWords], in turn
  std::vector<unsigned> word_exchanges;
  std::vector<double> tiles[2];  // of products, [warp][4][16][tokens / 4], in turn
  std::unique_ptr<std::uint8_t[], void (*)(void*)> shared{nullptr, std::free};
  std::vector<BulkCopy> bulk_copies;  // to its shared memory, not done, in order
  NamedBarrier named[kNamedBarriers];
  std::size_t cluster_begin = 0;  // in `blocks`
  dim3 index;
  bool all = true;
  bool done = true;
};

extern std::vector<std::unique_ptr<Block>> blocks;
extern Block* block;
extern unsigned current;  ///< thread of it

[[noreturn]] void stop(const char* what);
/// Decides what a device leaves open; the same in every run.
std::uint64_t draw_lot(std::uint64_t below);
void wait(State state);

/// True when the phase that the thread waits for is over.
bool bytes_are_there(const Thread& thread);
/// Does the copies for which threads of the block wait; false when there are none.
bool do_bulk_copies(Block& of);

}  // namespace cuda_emulation
