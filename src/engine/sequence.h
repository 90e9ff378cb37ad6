#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/block_manager.h"
#include "engine/request.h"

namespace awq::engine {

struct Sequence;

/// What the choices of one request share.
struct RequestState {
  RequestId id = 0;
  SamplingParams sampling;
  std::string cache_salt;
  std::int64_t priority = 0;
  std::int64_t prompt_count = 0;
  std::int64_t reserved_output = 0;  ///< tokens of each choice that have room from the beginning
  std::shared_ptr<RequestSink> sink;
  Sequence* leader = nullptr;  ///< choice 0, which computes the prompt for all; null once it has ended
  std::int64_t open = 0;       ///< choices that have not ended
  bool started = false;
  bool paused = false;
};

/// One choice of one request: its tokens, and the blocks that hold their keys and values.
///
///   ids     | prompt ............ | output ............... |
///   blocks  | [0] | [1] | [2] | [3] | [4] ... one per block_size tokens
///           |<------- computed ------->|    keys and values are in the blocks
///           |<-- published -->|             full blocks that others may find
struct Sequence {
  std::shared_ptr<RequestState> request;
  std::int64_t choice = 0;
  std::uint64_t arrival = 0;        ///< order among equals of priority
  std::vector<std::int32_t> ids;    ///< prompt and output
  std::vector<std::int32_t> draft;  ///< tokens guessed to follow ids; the step checks them
  std::vector<std::int32_t> blocks;
  std::int64_t computed = 0;
  std::int64_t published = 0;        ///< blocks
  PrefixId prefix = 0;               ///< of the published blocks
  std::int64_t cached_tokens = 0;    ///< of the prompt, found when it first ran
  std::int64_t prompt_reported = 1;  ///< positions whose prompt logprob is delivered (0 has none)
  std::unique_ptr<TokenConstraint> constraint;
  std::uint64_t constraint_work = 0;  ///< its work() when it was last asked
  std::uint64_t constraint_turn = 0;  ///< the step of that
  bool constraint_expensive = false;  ///< it was then
  std::int64_t draft_limit = 0;       ///< guesses per step that pay at present
  bool running = false;               ///< in the scheduler's list of those; with neither it waits
  bool paused = false;
  bool ended = false;

  std::int64_t length() const { return static_cast<std::int64_t>(ids.size()); }
  std::int64_t prompt_count() const { return request->prompt_count; }
  std::int64_t output_count() const { return length() - prompt_count(); }
  std::span<const std::int32_t> output() const {
    return std::span(ids).subspan(static_cast<std::size_t>(prompt_count()));
  }
  bool wants_prompt_logprobs() const { return choice == 0 && request->sampling.prompt_logprobs.has_value(); }
};

/// All choices of one request, before they enter the core. Made outside of the engine's thread.
struct NewRequest {
  std::shared_ptr<RequestState> state;
  std::vector<std::unique_ptr<Sequence>> choices;
};

/// The choices of a checked request, their constraints made.
NewRequest make_request(RequestId id, Request&& request, std::shared_ptr<RequestSink> sink);

}  // namespace awq::engine
