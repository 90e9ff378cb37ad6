#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/openai/fields.h"

namespace awq::server {

/// Sampling defaults of the model (generation_config.json), overridden by a flag, overridden by the request.
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<std::int64_t> top_k, max_new_tokens;
};

/// Reads those fields of `json` that are there; `name` is used in messages. Throws kCorruptFile.
void merge_defaults(GenerationDefaults& defaults, const OrderedJson& json, const std::string& name);

/// What the text has to follow; at most one kind.
struct ConstraintSpec {
  enum class Kind { kNone, kJsonObject, kJsonSchema, kRegex, kChoice, kGrammar };
  Kind kind = Kind::kNone;
  OrderedJson schema;
  std::string pattern;  ///< regular expression or grammar
  std::vector<std::string> choices;
  std::string field;  ///< of the request, for messages
};

/// Fields that chat and completion requests share, checked.
struct CommonFields {
  std::string model;
  engine::SamplingParams sampling;  ///< without seed, max_tokens, logprobs and bad_words
  std::optional<std::int64_t> seed;
  std::int64_t n = 1;
  std::vector<std::string> stop;
  std::vector<std::string> bad_words;
  bool include_stop = false;
  bool skip_special_tokens = true;
  std::optional<std::int64_t> truncate_prompt_tokens;  ///< -1: to the model's context
  bool truncate_left = true;
  std::optional<std::int64_t> prompt_logprobs;
  ConstraintSpec constraint;
  std::string cache_salt;
  std::string request_id;  ///< empty: not given
  std::int64_t priority = 0;
  bool tokens_as_ids = false;
  bool return_token_ids = false;
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  std::int64_t stream_interval = 1;
};

CommonFields read_common(const Fields& fields, const ServeLimits& limits, const GenerationDefaults& defaults);

/// n choices of each of `prompts` against max_choices_per_request.
void check_choices(const ServeLimits& limits, std::int64_t prompts, std::int64_t n);

/// `field` against a limit of the server.
void check_limit(const ServeLimits& limits, LimitField limit, std::int64_t found, const std::string& field);

}  // namespace awq::server
