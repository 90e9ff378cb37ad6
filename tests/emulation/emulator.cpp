// Threads of a block as coroutines: each has a stack of its own and runs until it waits for others or ends.

#include <setjmp.h>
#include <ucontext.h>

#include <exception>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_emulation {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;
constexpr unsigned kLanes = 32;

enum class State { kReady, kAtWarp, kAtBlock, kDone };

struct Thread {
  std::unique_ptr<char[]> stack;
  jmp_buf place;
  State state = State::kReady;
  bool started = false;
  std::uint64_t given[2] = {};  // of the exchanges so far, in turn
  unsigned exchanges = 0;
};

std::vector<Thread> threads;
unsigned current = 0;
unsigned count = 0;
jmp_buf scheduler;
const std::function<void()>* body = nullptr;

void begin() {
  (*body)();
  threads[current].state = State::kDone;
  _longjmp(scheduler, 1);
}

void resume(unsigned index) {
  current = index;
  threadIdx = dim3(index);
  if (_setjmp(scheduler) != 0) return;
  Thread& thread = threads[index];
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
  Thread& thread = threads[current];
  thread.state = state;
  if (_setjmp(thread.place) == 0) _longjmp(scheduler, 1);
}

/// Lets threads [first, last) go on when all that have not ended are at `state`.
bool release(unsigned first, unsigned last, State state) {
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

void run_block() {
  for (unsigned i = 0; i < count; ++i) {
    threads[i].state = State::kReady;
    threads[i].started = false;
    threads[i].exchanges = 0;
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
    if (release(0, count, State::kAtBlock)) continue;
    bool done = true;
    for (unsigned i = 0; i < count; ++i) done = done && threads[i].state == State::kDone;
    if (done) return;
    if (!progress) std::terminate();  // threads wait for each other at different places
  }
}

}  // namespace

void run_grid(dim3 grid, unsigned size, const std::function<void()>& work) {
  body = &work;
  count = size;
  gridDim = grid;
  blockDim = dim3(size);
  while (threads.size() < size) threads.emplace_back().stack = std::make_unique<char[]>(kStackBytes);
  for (unsigned x = 0; x < grid.x; ++x) {
    blockIdx = dim3(x);
    run_block();
  }
}

void wait_for_block() { wait(State::kAtBlock); }
void wait_for_warp() { wait(State::kAtWarp); }
int own_lane() { return static_cast<int>(current % kLanes); }

std::uint64_t exchange(std::uint64_t value, int lane) {
  Thread& thread = threads[current];
  const unsigned turn = thread.exchanges++ % 2;
  thread.given[turn] = value;
  const unsigned self = current;
  wait(State::kAtWarp);
  return threads[self / kLanes * kLanes + static_cast<unsigned>(lane)].given[turn];
}

}  // namespace cuda_emulation
