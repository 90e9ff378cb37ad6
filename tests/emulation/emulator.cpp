// Threads of a block as coroutines: each has a stack of its own and runs until it waits for others or ends.

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_runtime.h"
#include "emulator.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_emulation {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;
constexpr unsigned kLanes = 32;

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "emulated device: block %u, thread %u: %s\n", blockIdx.x, threadIdx.x, what);
  std::abort();
}

enum class State { kReady, kAtWarp, kAtBlock, kAtOthers, kDone };

struct Copy {
  void* to;
  const void* from;
  int bytes;
  int group;
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
};

struct Block {
  std::vector<Thread> threads;
  std::vector<std::uint32_t> words[2];  // exchanged, [thread][kLaneWords], in turn
  std::vector<unsigned> word_exchanges;
  std::unique_ptr<std::uint8_t[], void (*)(void*)> shared{nullptr, std::free};
  dim3 index;
  bool all = true;
  bool done = false;
};

std::vector<std::unique_ptr<Block>> blocks;
Block* block = nullptr;
unsigned current = 0;
unsigned count = 0;
bool cooperative = false;
jmp_buf scheduler;
const std::function<void()>* body = nullptr;
std::vector<std::function<void()>>* recording = nullptr;

void begin() {
  for (;;) {
    (*body)();
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

void wait(State state) {
  Thread& thread = block->threads[current];
  thread.state = state;
  if (_setjmp(thread.place) == 0) _longjmp(scheduler, 1);
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

/// Runs the block until its threads have ended or wait for other blocks; true when something happened.
bool run_block(Block& b) {
  block = &b;
  blockIdx = b.index;
  std::vector<Thread>& threads = b.threads;
  bool any = false;
  for (unsigned i = 0; i < count; ++i) {
    if (threads[i].state == State::kAtOthers) threads[i].state = State::kReady;
  }
  for (;;) {
    bool progress = false;
    for (unsigned first = 0; first < count; first += kLanes) {
      const unsigned last = first + kLanes < count ? first + kLanes : count;
      do {
        for (unsigned i = first; i < last; ++i) {
          if (threads[i].state != State::kReady) continue;
          resume(i);
          progress = true;
        }
      } while (release(first, last, State::kAtWarp));
    }
    any = any || progress;
    if (release(0, count, State::kAtBlock)) continue;
    bool done = true, others = false;
    for (unsigned i = 0; i < count; ++i) {
      done = done && threads[i].state == State::kDone;
      others = others || threads[i].state == State::kAtOthers;
    }
    if (done) {
      b.done = true;
      return true;
    }
    if (progress) continue;
    if (others && cooperative) return any;
    stop("threads wait for each other at different places");
  }
}

}  // namespace

void enqueue(std::function<void()> work) {
  if (recording != nullptr) return recording->push_back(std::move(work));
  work();
}
void record(std::vector<std::function<void()>>* into) { recording = into; }

void run_grid(const Launch& launch, const std::function<void()>& work) {
  body = &work;
  count = launch.threads;
  cooperative = launch.cooperative;
  gridDim = launch.grid;
  blockDim = dim3(count);
  const std::size_t total = std::size_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  const auto index_of = [&](std::size_t i) {
    const auto n = static_cast<unsigned>(i);
    return dim3(n % launch.grid.x, n / launch.grid.x % launch.grid.y, n / launch.grid.x / launch.grid.y);
  };
  if (!cooperative) {
    if (blocks.empty()) blocks.push_back(std::make_unique<Block>());
    for (std::size_t i = 0; i < total; ++i) {
      prepare(*blocks[0], index_of(i), launch.shared_bytes);
      run_block(*blocks[0]);
    }
    return;
  }
  if (total > kMultiprocessors) stop("a cooperative launch of more blocks than run at a time");
  while (blocks.size() < total) blocks.push_back(std::make_unique<Block>());
  for (std::size_t i = 0; i < total; ++i) prepare(*blocks[i], index_of(i), launch.shared_bytes);
  for (std::size_t idle = 0, left = total; left > 0;) {
    left = 0;
    for (std::size_t i = 0; i < total; ++i) {
      if (blocks[i]->done) continue;
      run_block(*blocks[i]);
      left += blocks[i]->done ? 0 : 1;
    }
    if (++idle > 1'000'000) stop("blocks wait for each other for ever");
  }
}

std::uint8_t* shared_memory() { return block->shared.get(); }
void wait_for_block() { wait(State::kAtBlock); }
void wait_for_warp() { wait(State::kAtWarp); }
void wait_for_others() {
  if (cooperative) wait(State::kAtOthers);
}
int own_lane() { return static_cast<int>(current % kLanes); }

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
