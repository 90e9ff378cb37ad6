// Threads of a block as coroutines: each has a stack of its own and runs until it waits for others or ends.

#include <ucontext.h>

#include <algorithm>
#include <cstdio>

#include "base/random.h"
#include "block.h"
#include "emulator.h"
#include "hopper.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_emulation {

std::vector<std::unique_ptr<Block>> blocks;
Block* block = nullptr;
unsigned current = 0;

void stop(const char* what) {
  std::fprintf(stderr, "emulated device: block %u, thread %u: %s\n", blockIdx.x, threadIdx.x, what);
  std::abort();
}

std::uint64_t draw_lot(std::uint64_t below) {
  static std::uint64_t drawn = 0;
  return awq::random_bits(5, drawn++) % below;
}

namespace {

constexpr std::size_t kStackBytes = 64 << 10;

unsigned count = 0;
bool together = false;  // blocks may wait for each other
bool turns = false;     // one has: none has static memory, which all would share here
unsigned cluster = 1;
jmp_buf scheduler;
const std::function<void()>* body = nullptr;
std::vector<std::function<void()>>* recording = nullptr;

void begin() {
  for (;;) {
    (*body)();
    if (!block->threads[current].products.issued.empty()) stop("a product that nobody waited for");
    // The next thread of this number goes on from here: a new context would cost two calls of the system.
    block->threads[current].state = State::kDone;
    if (_setjmp(block->threads[current].place) == 0) _longjmp(scheduler, 1);
  }
}

void resume(unsigned index) {
  current = index;
  threadIdx = dim3(index);
  if (_setjmp(scheduler) != 0) return;
  Thread& thread = block->threads[index];
  if (thread.started) _longjmp(thread.place, 1);
  thread.started = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = thread.stack.get();
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, begin, 0);
  setcontext(&context);
}

/// Lets threads [first, last) go on when all that have not ended are at `state`.
bool release(unsigned first, unsigned last, State state) {
  std::vector<Thread>& threads = block->threads;
  bool any = false;
  for (unsigned i = first; i < last; ++i) {
    if (threads[i].state == State::kDone) continue;
    if (threads[i].state != state) return false;
    any = true;
  }
  for (unsigned i = first; any && i < last; ++i) {
    if (threads[i].state == state) threads[i].state = State::kReady;
  }
  return any;
}

void prepare(Block& b, const dim3& index, std::size_t shared_bytes) {
  b.index = index;
  b.done = false;
  for (NamedBarrier& barrier : b.named) barrier = {};
  while (b.threads.size() < count) b.threads.emplace_back().stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
  b.word_exchanges.assign(count, 0);
  for (auto& words : b.words) words.resize(std::size_t{count} * kLaneWords);
  for (unsigned i = 0; i < count; ++i) {
    Thread& thread = b.threads[i];
    thread.state = State::kReady;
    thread.exchanges = 0;
    thread.copies.clear();
    thread.group = 0;
  }
  if (shared_bytes != 0) {
    if (b.shared == nullptr)
      b.shared.reset(static_cast<std::uint8_t*>(std::aligned_alloc(1024, device.shared_bytes + 1024)));
    std::memset(b.shared.get(), 0xA5, shared_bytes);  // uninitialized memory is nothing to lean on
  }
}

/// True when the thread can go on, now that others have run.
bool can_run(Thread& thread) {
  const bool resting = thread.state == State::kResting;
  if (resting || (thread.state == State::kAtBytes && bytes_are_there(thread))) thread.state = State::kReady;
  return thread.state == State::kReady;
}

unsigned any_warp() { return static_cast<unsigned>(draw_lot((count + kLanes - 1) / kLanes)); }

/// Runs the block until its threads have ended or wait for other blocks, or another's turn comes by lot. One warp after
/// another, by lot, is held back until the others cannot go on without it.
void run_block(Block& b) {
  block = &b;
  blockIdx = b.index;
  std::vector<Thread>& threads = b.threads;
  for (unsigned i = 0; i < count; ++i) {
    if (threads[i].state == State::kAtOthers) threads[i].state = State::kReady;
  }
  constexpr unsigned kNobody = ~0U;
  unsigned held = any_warp();
  for (;;) {
    bool progress = false;
    for (unsigned first = 0; first < count; first += kLanes) {
      if (first / kLanes == held) continue;
      const unsigned last = first + kLanes < count ? first + kLanes : count;
      do {
        for (unsigned i = first; i < last; ++i) {
          if (!can_run(threads[i])) continue;
          resume(i);
          progress = true;
        }
      } while (release(first, last, State::kAtWarp));
    }
    if (release(0, count, State::kAtBlock)) continue;
    bool done = true, others = cluster > 1;
    for (unsigned i = 0; i < count; ++i) {
      done = done && threads[i].state == State::kDone;
      others = others || threads[i].state == State::kAtOthers;
    }
    if (done) {
      if (!b.bulk_copies.empty()) stop("a bulk copy that nobody waited for");
      b.done = true;
      return;
    }
    if (progress || do_bulk_copies(b)) {
      if (held == kNobody) held = any_warp();
      if (turns && draw_lot(8) == 0) return;
      continue;
    }
    if (held != kNobody) {
      held = kNobody;
      continue;
    }
    if (others) return;
    stop("threads wait for each other at different places");
  }
}

/// Lets the cluster that begins at block `first` go on when all its threads that have not ended are at its barrier.
void release_cluster(std::size_t first) {
  std::vector<Thread*> waiting;
  for (std::size_t i = first; i < first + cluster; ++i) {
    for (unsigned t = 0; t < count; ++t) {
      Thread& thread = blocks[i]->threads[t];
      if (thread.state == State::kDone) continue;
      if (thread.state != State::kAtCluster) return;
      waiting.push_back(&thread);
    }
  }
  for (Thread* thread : waiting) thread->state = State::kReady;
}

}  // namespace

void wait(State state) {
  Thread& thread = block->threads[current];
  thread.state = state;
  if (_setjmp(thread.place) == 0) _longjmp(scheduler, 1);
}

void enqueue(std::function<void()> work) {
  if (recording != nullptr) return recording->push_back(std::move(work));
  work();
}
void record(std::vector<std::function<void()>>* into) { recording = into; }

void run_grid(const Launch& launch, const std::function<void()>& work) {
  body = &work;
  count = launch.threads;
  together = launch.together || launch.cooperative;
  cluster = launch.cluster;
  gridDim = launch.grid;
  blockDim = dim3(count);
  const std::size_t total = std::size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const auto index_of = [&](std::size_t i) {
    const auto n = static_cast<unsigned>(i);
    return dim3(n % launch.grid.x, n / launch.grid.x % launch.grid.y, n / launch.grid.x / launch.grid.y);
  };
  const std::size_t multiprocessors = device.multiprocessors;
  if (launch.cooperative && total > multiprocessors) stop("a cooperative launch of more blocks than run at a time");
  const bool two = 2 * (launch.shared_bytes + 1024) <= device.shared_bytes + 1024;
  const std::size_t room = std::min(total, together ? multiprocessors * (two ? 2 : 1) / cluster * cluster : cluster);
  turns = false;
  while (blocks.size() < room) blocks.push_back(std::make_unique<Block>());
  std::size_t next = 0;
  const auto begin_cluster = [&](std::size_t first) {
    for (std::size_t i = first; i < first + cluster; ++i) {
      blocks[i]->cluster_begin = first;
      prepare(*blocks[i], index_of(next++), launch.shared_bytes);
    }
  };
  for (std::size_t first = 0; first < room; first += cluster) begin_cluster(first);
  for (std::size_t idle = 0, left = total; left > 0; ++idle) {
    if (idle > 100'000) stop("blocks wait for each other for ever");
    for (std::size_t first = 0; first < room; first += cluster) {
      std::size_t done = 0;
      for (std::size_t i = first; i < first + cluster; ++i) {
        const bool waits = room > cluster && draw_lot(2) == 0;  // nobody should lean on the order of blocks
        if (!blocks[i]->done && !waits) {
          run_block(*blocks[i]);
          if (blocks[i]->done) {
            --left;
            idle = 0;
          }
        }
        done += blocks[i]->done ? 1 : 0;
      }
      if (cluster > 1) release_cluster(first);
      if (done == cluster && next < total) begin_cluster(first);
    }
  }
}

std::uint8_t* shared_memory() { return block->shared.get(); }
void wait_for_block() { wait(State::kAtBlock); }
void wait_for_warp() { wait(State::kAtWarp); }
void wait_for_others() {
  if (!together) return;
  turns = true;
  wait(State::kAtOthers);
}
void wait_for_cluster() { wait(State::kAtCluster); }
unsigned cluster_rank() { return block->index.x % cluster; }
int own_lane() { return static_cast<int>(current % kLanes); }

void meet_at(int barrier, unsigned threads, bool stays) {
  NamedBarrier& named = block->named[barrier];
  if (named.arrived != 0 && named.threads != threads) stop("a named barrier of two numbers of threads");
  named.threads = threads;
  if (++named.arrived == threads) {
    named.arrived = 0;
    for (Thread& thread : block->threads) {
      if (thread.state == State::kAtNamed && thread.named == barrier) thread.state = State::kReady;
    }
    return;
  }
  if (!stays) return;
  block->threads[current].named = barrier;
  wait(State::kAtNamed);
}

std::uint64_t exchange(std::uint64_t value, int lane) {
  Thread& thread = block->threads[current];
  const unsigned turn = thread.exchanges++ % 2;
  thread.given[turn] = value;
  const unsigned self = current;
  wait(State::kAtWarp);
  return block->threads[self / kLanes * kLanes + static_cast<unsigned>(lane)].given[turn];
}

const std::uint32_t* exchange_words(const std::uint32_t (&words)[kLaneWords]) {
  const unsigned turn = block->word_exchanges[current]++ % 2;
  std::uint32_t* all = block->words[turn].data();
  std::memcpy(all + std::size_t{current} * kLaneWords, words, sizeof(words));
  const unsigned self = current;
  wait(State::kAtWarp);
  return all + std::size_t{self / kLanes * kLanes} * kLaneWords;
}

bool all_of_block(bool value) {
  // Threads read the result between the second barrier and the first of the next call.
  block->all = true;
  wait(State::kAtBlock);
  block->all = block->all && value;
  wait(State::kAtBlock);
  return block->all;
}

void copy_later(void* to, const void* from, int bytes) {
  constexpr std::uintptr_t kMask = 15;
  if ((reinterpret_cast<std::uintptr_t>(to) & kMask) != 0) stop("a copy to an address that is not a multiple of 16");
  if (bytes != 0 && (reinterpret_cast<std::uintptr_t>(from) & kMask) != 0) stop("a copy from an unaligned address");
  Thread& thread = block->threads[current];
  thread.copies.push_back({to, from, bytes, thread.group});
}
void end_copy_group() { ++block->threads[current].group; }
void wait_for_copies(int pending) {
  Thread& thread = block->threads[current];
  std::size_t done = 0;
  for (; done < thread.copies.size() && thread.copies[done].group < thread.group - pending; ++done) {
    const Copy& copy = thread.copies[done];
    std::memset(copy.to, 0, 16);
    if (copy.bytes != 0) std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.bytes));
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace cuda_emulation
