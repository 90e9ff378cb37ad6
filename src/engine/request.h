#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/token_constraint.h"

namespace awq::engine {

using RequestId = std::uint64_t;

/// Ends a choice whose last tokens are one pattern again and again.
struct RepetitionRule {
  std::int64_t max_pattern_size = 0;  ///< tokens of a pattern; 0: off
  std::int64_t min_pattern_size = 1;
  std::int64_t min_count = 2;  ///< times in a row, at least 2
};

/// How tokens are picked. Names, ranges and neutral values are those of the OpenAI and vLLM interfaces.
struct SamplingParams {
  double temperature = 1;                            ///< 0: greedy; else 0.01 to 2 (smaller values count as 0.01)
  double top_p = 1;                                  ///< (0, 1]
  std::int64_t top_k = 0;                            ///< 0: all
  double min_p = 0;                                  ///< [0, 1], relative to the likeliest token
  double presence_penalty = 0;                       ///< [-2, 2], once per id of the output
  double frequency_penalty = 0;                      ///< [-2, 2], per occurrence in the output
  double repetition_penalty = 1;                     ///< more than 0; ids of prompt and output
  std::vector<std::pair<std::int32_t, float>> bias;  ///< logit_bias: id and [-100, 100]
  std::vector<std::int32_t> allowed_token_ids;       ///< empty: all
  std::vector<std::vector<std::int32_t>> bad_words;  ///< token sequences that must not be completed
  std::uint64_t seed = 0;        ///< choice i draws with seed + i; position p of a choice uses number p
  std::int64_t max_tokens = 16;  ///< 0: the prompt alone (for prompt_logprobs)
  std::int64_t min_tokens = 0;   ///< until then stop and end-of-sequence ids cannot be chosen
  bool ignore_eos = false;       ///< end-of-sequence ids are tokens like others
  std::vector<std::int32_t> stop_token_ids;
  std::optional<std::int64_t> logprobs;  ///< alternatives per token; 0: the chosen one alone; -1: all
  /// With `logprobs`: the alternatives are these ids and the chosen one, not the likeliest. None twice.
  std::vector<std::int32_t> logprob_token_ids;
  RepetitionRule repetition;                    ///< not looked for before min_tokens
  std::optional<std::int64_t> prompt_logprobs;  ///< the same for the prompt; the prefix cache is not read then
};

/// One prompt and how to continue it, n times.
struct Request {
  std::vector<std::int32_t> prompt;
  SamplingParams sampling;
  std::int64_t n = 1;  ///< choices; they share the blocks of the prompt
  /// Output of a choice that the queue makes room for beforehand; what it grows to beyond counts as it comes. Nothing:
  /// max_tokens. For a max_tokens that nobody asked for, which hardly any answer reaches.
  std::optional<std::int64_t> reserved_output;
  std::string cache_salt;     ///< requests share cached prefixes only with requests of the same salt
  std::int64_t priority = 0;  ///< lower runs earlier; equal ones in order of arrival
  /// Makes the constraint of one choice; called n times, in the thread of submit(). Null: unconstrained.
  std::function<std::unique_ptr<TokenConstraint>()> make_constraint;
};

enum class FinishReason {
  kNone,        ///< goes on
  kStop,        ///< an end-of-sequence id, a stop id, or a finished constraint
  kLength,      ///< max_tokens or the end of the context
  kRepetition,  ///< SamplingParams::repetition
  kAbort,       ///< cancelled, or the engine was stopped
  kError,       ///< our fault, the model's or, with TokenEvent::error_of_request, the client's; TokenEvent::error says
};

/// Log probabilities come from the logits before bias, penalties and temperature, but after the constraint.
struct TokenLogprob {
  std::int32_t id = 0;
  float logprob = 0;      ///< natural; -infinity for a token that the constraint forbids
  std::int64_t rank = 0;  ///< 1: the likeliest
};

/// One new token of one choice, or its end without a token.
struct TokenEvent {
  std::int64_t choice = 0;     ///< 0 .. n - 1
  std::int32_t token_id = -1;  ///< -1: no token, `finish` is set. The id that stops a choice is delivered with it.
  TokenLogprob logprob;        ///< of token_id; only with SamplingParams::logprobs
  std::span<const TokenLogprob> top_logprobs;  ///< likeliest first; valid during the call
  FinishReason finish = FinishReason::kNone;
  std::int32_t stop_token_id = -1;  ///< the entry of stop_token_ids that ended the choice; -1 for an end-of-sequence id
  std::int64_t completion_tokens = 0;  ///< of this choice so far, this one included
  std::int64_t cached_tokens = 0;      ///< prompt tokens whose keys and values were found in the prefix cache
  std::string_view error;              ///< with kError
  bool error_of_request = false;       ///< a limit of its constraint: trying again does not help
};

/// Log probability of prompt token `position` (from 1 on) given the ones before it.
struct PromptLogprob {
  std::int64_t position = 0;
  TokenLogprob logprob;
  std::span<const TokenLogprob> top_logprobs;  ///< likeliest first; valid during the call
};

/// Where the results of a request go. Called from the engine's thread, one call at a time: an implementation hands over
/// quickly, does not block and does not throw; it may call Engine::cancel(). After the last choice's finishing event
/// nothing more comes and the engine drops its reference.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  /// The first tokens of the request run in the step that begins now.
  virtual void on_started() {}
  /// In rising order of position, before the first token of choice 0.
  virtual void on_prompt_logprob(const PromptLogprob&) {}
  virtual void on_token(const TokenEvent& event) = 0;
};

/// Output tokens of each choice that are reserved while the request waits and runs.
inline std::int64_t reserved_output(const Request& request) {
  return std::min(request.reserved_output.value_or(request.sampling.max_tokens), request.sampling.max_tokens);
}

/// Why a request cannot run, for a client: the field by its name in the HTTP interface, and the reason.
struct RequestProblem {
  std::string field;
  std::string message;
};

/// What a request may ask for.
struct RequestLimits {
  std::int64_t vocab_size = 0;
  std::int64_t max_model_len = 0;  ///< prompt and output of one choice
  std::int64_t max_n = 128;
  std::int64_t max_logprobs = 20;  ///< largest count of alternatives; -1 in a request is allowed only if this is -1
  std::int64_t max_stop_ids = 128;
  std::int64_t max_bias = 1024;
  std::int64_t max_bad_words = 128;
  std::int64_t max_logprob_ids = 128;
  std::int64_t max_pattern_size = 1024;  ///< of RepetitionRule
};

/// The first field that is out of range, or nothing. Engine::submit() checks the same.
std::optional<RequestProblem> find_problem(const Request& request, const RequestLimits& limits);

}  // namespace awq::engine
