#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/request.h"
#include "ops/kv_dtype.h"

namespace awq::model {
class LanguageModel;
}

namespace awq::engine {

class StepModel;

/// Largest EngineOptions::spec_tokens.
inline constexpr std::int64_t kMaxSpecTokens = 15;

struct EngineOptions {
  ops::KvDtype kv_dtype = ops::KvDtype::kF32;
  std::uint64_t kv_cache_memory_bytes = 0;    ///< 0: what max_num_seqs need, within half of the memory that is free
  std::int64_t max_model_len = 0;             ///< tokens of one sequence; 0: the model's context, or what fits
  std::int64_t max_num_seqs = 64;             ///< sequences in one step
  std::int64_t max_num_batched_tokens = 512;  ///< tokens in one step
  std::int64_t max_waiting_requests = 1024;   ///< more are rejected
  std::int64_t max_waiting_tokens = 1 << 22;  ///< prompts and reserved outputs of requests that have not finished
  bool prefix_caching = true;
  /// TokenConstraint::work() that expensive constraints take in one step, all together; the others of a step wait for
  /// the next, the one that has waited longest first. Constraints that were cheap of late may take four times as much.
  std::int64_t constraint_work_per_step = 2'000'000;
  std::int64_t spec_tokens = 0;     ///< tokens guessed per step from earlier text (prompt lookup); 0: off
  std::int64_t spec_ngram_max = 4;  ///< longest and shortest run of tokens that is looked up
  std::int64_t spec_ngram_min = 2;
  RequestLimits limits;  ///< vocab_size and max_model_len are filled in by the engine
};

/// What one step did. Times are on the engine's thread.
struct StepReport {
  std::int64_t sequences = 0;
  std::int64_t tokens = 0;         ///< that went through the model
  std::int64_t prompt_tokens = 0;  ///< those of them that belong to prompts
  std::int64_t new_tokens = 0;     ///< delivered
  double seconds = 0;
};

/// A moment's numbers and counters since the start.
struct EngineStats {
  std::int64_t running = 0;  ///< sequences that hold blocks
  std::int64_t waiting = 0;  ///< sequences that hold none, preempted ones included
  std::int64_t paused = 0;   ///< sequences that rest
  std::int64_t kv_blocks_total = 0;
  std::int64_t kv_blocks_used =
      0;  ///< held by running and paused sequences; the others are free, with or without a cached prefix
  std::int64_t kv_block_tokens = 0;
  std::uint64_t kv_bytes_total = 0;
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens = 0;         ///< of accepted requests that started, counted once
  std::uint64_t prompt_tokens_cached = 0;  ///< those of them that were found in the prefix cache
  std::uint64_t generation_tokens = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t prefix_cache_queries = 0;  ///< tokens looked up
  std::uint64_t prefix_cache_hits = 0;     ///< tokens found
  std::uint64_t spec_drafts = 0, spec_draft_tokens = 0, spec_accepted_tokens = 0;
  std::array<std::uint64_t, kMaxSpecTokens> spec_accepted_per_pos{};  ///< by place in the guess
  std::uint64_t finished_stop = 0, finished_length = 0, finished_repetition = 0, finished_abort = 0,
                finished_error = 0;  ///< choices
  std::uint64_t rejected = 0;        ///< requests that were not taken
  double step_seconds = 0;           ///< sum over steps
};

/// Answer to submit().
struct Submission {
  enum class Status {
    kAccepted,
    kInvalid,       ///< `problem` says why; sending it again does not help
    kOverloaded,    ///< queues are full; try again after retry_after_seconds
    kShuttingDown,  ///< the engine drains or has failed
  };
  Status status = Status::kAccepted;
  RequestId id = 0;  ///< with kAccepted
  RequestProblem problem;
  double retry_after_seconds = 0;  ///< an estimate from the work that waits and the speed of late, at least 1
};

/// Continuous batching over one model: requests of any number of threads run together, one step at a time, on a thread
/// of the engine's own (which is the one that leads OpenMP teams). A request's tokens do not depend on what runs beside
/// it (docs/numerics.md, "Same tokens").
class Engine {
 public:
  /// Allocates the cache. Throws kInvalidArgument for options that contradict each other, kOutOfMemory when a sequence
  /// of max_model_len, if that is given, does not fit (the message names the longest that does).
  Engine(std::unique_ptr<model::LanguageModel> model, const EngineOptions& options);
  /// The same over any model: for tests.
  Engine(std::unique_ptr<StepModel> model, const EngineOptions& options);
  /// Cancels what runs and joins.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Any thread. Never blocks on a step. The sink gets its first call after this returns or while it does.
  Submission submit(Request request, std::shared_ptr<RequestSink> sink);
  /// Any thread, sinks included. Takes effect before the next step: the blocks are free then, and each choice that has
  /// not ended gets a last event with kAbort. Unknown and finished ids are ignored.
  void cancel(RequestId id);
  /// Ends one choice, as a stop string does.
  void cancel(RequestId id, std::int64_t choice);

  /// Any thread, sinks included. From the next step on a paused request gets no tokens: its reader is behind. It gives
  /// its blocks to whoever needs them and goes on with the same tokens when it is resumed. Other ids are ignored.
  void set_paused(RequestId id, bool paused);

  /// Takes no new requests from now on; what was accepted goes on.
  void drain();
  /// True once nothing is running or waiting; false when `timeout` passed first.
  bool wait_idle(std::chrono::milliseconds timeout);
  /// drain(), cancel everything, join. Every sink has its last event when this returns.
  void stop();

  /// False after an error that was not one request's; error() says what. Nothing is accepted any more.
  bool healthy() const;
  std::string error() const;

  EngineStats stats() const;
  /// Called on the engine's thread after every step, for histograms. Set it before the first request.
  void set_step_observer(std::function<void(const StepReport&)> observer);
  const RequestLimits& limits() const;
  const EngineOptions& options() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::engine
