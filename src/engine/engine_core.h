#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/block_manager.h"
#include "engine/constraint_turns.h"
#include "engine/engine.h"
#include "engine/prompt_lookup.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/sequence.h"
#include "engine/step_model.h"

namespace awq::engine {

/// Throws kInvalidArgument for sizes that no engine can have. For callers that allocate by them before there is one.
void check_sizes(const EngineOptions& options);
/// The options with what `model` decides filled in. Throws kInvalidArgument, or kOutOfMemory when one sequence does not
/// fit into its cache.
EngineOptions completed(EngineOptions options, const StepModel& model);

/// The engine without its thread: add requests, call step() until idle. Not thread safe. Sinks are called from
/// step() and cancel().
class EngineCore {
 public:
  /// Completes `options` (limits, max_model_len). Throws kInvalidArgument for options that contradict each other.
  EngineCore(StepModel& model, EngineOptions options, HashKey key);

  void add(NewRequest&& request);
  /// Ends one choice, or all with choice < 0, with kAbort. Unknown ids are ignored.
  void cancel(RequestId id, std::int64_t choice = -1);
  void cancel_all();
  /// Lets a request rest, or go on. Unknown ids are ignored.
  void set_paused(RequestId id, bool paused);
  /// Runs one step; false when there is nothing to run: no request, or paused ones alone. An error of the model ends
  /// the sequences of that step with kError; kInternal and kDevice are thrown on, because they are nobody's request's
  /// fault.
  bool step(StepReport& report);
  bool idle() const { return requests_.empty(); }
  /// Whether there is a request that is not paused.
  bool can_run() const { return requests_.size() > paused_requests_; }

  const EngineOptions& options() const { return options_; }
  /// Everything but `rejected` and `step_seconds`.
  EngineStats stats() const;
  /// Throws kInternal when blocks are lost or counted twice.
  void check() const;

 private:
  void make_drafts();
  void build_batch(std::span<const ScheduledSlice> slices, StepReport& report);
  void take_results(std::span<const ScheduledSlice> slices, StepReport& report);
  void report_prompt(const ScheduledSlice& slice, std::int64_t begin);
  void pick_on_device(std::span<const ScheduledSlice> slices);
  void take_tokens(const ScheduledSlice& slice, std::span<float> logits, std::span<const std::int32_t> picks,
                   StepReport& report);
  FinishReason finish_of(const Sequence& sequence, std::int32_t id, std::int32_t& stop_id) const;
  void finish(Sequence& sequence, const TokenEvent& last);
  void end_without_token(Sequence& sequence, FinishReason reason, std::string_view error = {},
                         bool error_of_request = false);
  void drop_ended();

  StepModel& model_;
  EngineOptions options_;
  BlockManager blocks_;
  Scheduler scheduler_;
  Sampler sampler_;
  ConstraintTurns turns_;
  std::unordered_map<RequestId, NewRequest> requests_;
  std::vector<RequestId> ended_;  ///< requests whose choices all ended in this step
  std::size_t paused_requests_ = 0;
  std::uint64_t arrivals_ = 0;
  EngineStats totals_;

  // Of the step under way.
  std::vector<std::int32_t> ids_;
  std::vector<model::SequenceSlice> slices_;
  std::vector<std::int64_t> first_token_;  ///< of each slice, in ids_
  std::vector<std::int64_t> rows_;
  std::vector<ops::DrawRule> rules_;    ///< of rows_, for a model that draws itself
  std::vector<std::int32_t> picks_;     ///< tokens that the model drew itself, of slices in their order
  std::vector<std::int64_t> picks_of_;  ///< of each slice: where its picks begin, -1 when its logits are needed
};

}  // namespace awq::engine
