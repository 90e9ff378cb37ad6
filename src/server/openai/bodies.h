#pragma once

#include <string>

#include "server/openai/choice.h"

namespace awq::server {

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = -1;  ///< -1: not told
};

OrderedJson usage_json(const Usage& usage);

/// What all bodies and chunks of one request begin with.
OrderedJson envelope(const JobSpec& spec, const std::string& fingerprint);

/// A choice of a whole answer. `prompt_logprobs` is null when it was not asked for.
struct WholeChoice {
  std::int64_t index = 0;
  std::string text;  ///< content, with echo
  std::string reasoning;
  std::vector<ParsedText::ToolCall> tool_calls;
  OrderedJson logprobs;  ///< null or the object
  OrderedJson prompt_logprobs;
  std::vector<std::int32_t> ids, prompt_ids;
};
OrderedJson chat_choice(const JobSpec& spec, const WholeChoice& whole, const Choice& choice);
OrderedJson completion_choice(const JobSpec& spec, const WholeChoice& whole, const Choice& choice);

/// A choice of a chunk.
OrderedJson chat_role_delta(std::int64_t index);
OrderedJson chat_delta(const JobSpec& spec, std::int64_t index, const Choice& choice, const Choice::News& news,
                       OrderedJson logprobs, bool last);
OrderedJson completion_delta(const JobSpec& spec, std::int64_t index, const Choice& choice, const Choice::News& news,
                             OrderedJson logprobs, bool last);

/// JSON as it goes out: one line, bytes that are no UTF-8 replaced.
std::string to_line(const OrderedJson& json);

}  // namespace awq::server
