#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/request.h"
#include "server/openai/fields.h"
#include "server/openai/token_texts.h"

namespace awq::server {

/// One token with its log probability (none for the first of a prompt) and the likeliest alternatives.
struct LogprobEntry {
  std::int32_t id = 0;
  std::optional<engine::TokenLogprob> own;
  std::vector<engine::TokenLogprob> top;
  bool named = false;  ///< `top` is what logprob_token_ids asked for: all of it is shown
};

/// {"content": [...]} of a chat choice. `count` alternatives per token, -1: all.
OrderedJson chat_logprobs(std::span<const LogprobEntry> entries, std::int64_t count, const TokenTexts& texts,
                          bool as_ids);

/// The parallel arrays of a completion choice. `offset` counts characters up to the first token and is moved on.
OrderedJson completion_logprobs(std::span<const LogprobEntry> entries, std::int64_t count, const TokenTexts& texts,
                                bool as_ids, std::int64_t& offset);

/// vLLM's prompt_logprobs: null for the first token, then objects by token id.
OrderedJson prompt_logprobs(std::span<const LogprobEntry> entries, const TokenTexts& texts);

}  // namespace awq::server
