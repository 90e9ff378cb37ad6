#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/openai/job_spec.h"
#include "server/service.h"

namespace awq::server {

/// Throws 400 for an id that the model has no row for.
void check_ids(const std::vector<std::int32_t>& ids, std::int64_t vocab_size, const std::string& field);

/// Cuts a prompt as truncate_prompt_tokens asks. -1 leaves room in the context for `max_tokens`, or for one token.
void truncate_prompt(std::vector<std::int32_t>& ids, const CommonFields& common, std::int64_t max_model_len,
                     std::int64_t max_tokens);

/// What the queue reserves for an answer whose client gave no max_tokens. The room that is left in the context would be
/// the worst case, which hardly any answer comes near: 33 chats with 131,072 tokens of context would fill a queue of 4
/// Mi tokens. With 2,048, --max-requests (1,024) and --max-queued-tokens (4 Mi) agree for prompts of as many tokens.
/// The engine counts what an answer grows to beyond it.
inline constexpr std::int64_t kOpenOutputTokens = 2048;

/// Tokens that each of `n` choices may generate: what was asked for, checked against the context and the server's
/// limits, or else the most that fits into them and the queue, or the model's own default when that is less. `field`
/// names max_tokens in messages.
std::int64_t output_tokens(const Service& service, std::int64_t prompt_tokens, std::int64_t n,
                           std::optional<std::int64_t> asked, const std::string& field);

/// The engine's request for one prompt.
engine::Request engine_request(const Service& service, const JobSpec& spec, std::vector<std::int32_t> prompt,
                               std::int64_t max_tokens);

/// Sets the seed, bad words and allowed tokens that need the tokenizer. Once, before engine_request().
void resolve_sampling(const Service& service, CommonFields& common);

}  // namespace awq::server
