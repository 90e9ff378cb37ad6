#include "server/openai/prompt.h"

#include <fmt/format.h>

#include <algorithm>

namespace awq::server {

void check_ids(const std::vector<std::int32_t>& ids, std::int64_t vocab_size, const std::string& field) {
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](std::int32_t id) { return id < 0 || id >= vocab_size; });
  if (bad != ids.end())
    throw ApiError(
        400, fmt::format("{}: token id {} is out of vocabulary, expected 0 to {}", field, *bad, vocab_size - 1), field);
}

void truncate_prompt(std::vector<std::int32_t>& ids, const CommonFields& common, std::int64_t max_model_len,
                     std::int64_t max_tokens) {
  if (!common.truncate_prompt_tokens) return;
  const std::int64_t asked = *common.truncate_prompt_tokens;
  if (asked > max_model_len) {
    throw ApiError(400, fmt::format("truncate_prompt_tokens: {} is more than the context, {}", asked, max_model_len),
                   "truncate_prompt_tokens");
  }
  // A max_tokens beyond the context is refused later, by its name.
  const std::int64_t room = max_model_len - std::max<std::int64_t>(1, std::min(max_tokens, max_model_len - 1));
  const auto most = static_cast<std::size_t>(asked < 0 ? room : asked);
  if (ids.size() <= most) return;
  if (common.truncate_left) {
    ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(most));
  } else {
    ids.resize(most);
  }
}

std::int64_t output_tokens(const Service& service, std::int64_t prompt_tokens, std::int64_t n,
                           std::optional<std::int64_t> asked, const std::string& field) {
  const std::int64_t context = service.model().max_model_len;
  check_limit(service.limits(), &ServeLimits::max_prompt_tokens, prompt_tokens, "prompt");
  if (asked) check_limit(service.limits(), &ServeLimits::max_output_tokens, *asked, field);
  const std::int64_t room = context - prompt_tokens;
  const std::int64_t least = asked && *asked == 0 ? 0 : 1;
  if (room < least || (asked && *asked > room)) {
    throw ApiError(
        400,
        fmt::format("This model's maximum context length is {} tokens. However, you requested {} tokens ({} in "
                    "the prompt, {} for the completion). Please reduce the length of the prompt or completion.",
                    context, prompt_tokens + asked.value_or(1), prompt_tokens, asked.value_or(1)),
        room < least ? "prompt" : field);
  }
  if (asked) return *asked;
  const std::int64_t queue = std::max<std::int64_t>(1, service.limits().max_queued_tokens / n - prompt_tokens);
  return std::min(
      {room, service.model().defaults.max_new_tokens.value_or(room), service.limits().max_output_tokens, queue});
}

void resolve_sampling(const Service& service, CommonFields& common) {
  engine::SamplingParams& sampling = common.sampling;
  sampling.seed = common.seed ? static_cast<std::uint64_t>(*common.seed) : random_seed();
  check_ids(sampling.allowed_token_ids, service.model().vocab_size, "allowed_token_ids");
  check_ids(sampling.stop_token_ids, service.model().vocab_size, "stop_token_ids");
  check_ids(sampling.logprob_token_ids, service.model().vocab_size, "logprob_token_ids");
  for (const auto& [id, bias] : sampling.bias) check_ids({id}, service.model().vocab_size, "logit_bias");
  // A word is forbidden at the beginning of a text and in its middle.
  const text::Tokenizer& tokenizer = *service.model().tokenizer;
  for (const std::string& word : common.bad_words) {
    for (const std::string& form : {word, " " + word}) {
      std::vector<std::int32_t> ids = tokenizer.encode(form, {.add_special_tokens = false, .parse_special = false});
      if (ids.empty()) continue;
      if (std::find(sampling.bad_words.begin(), sampling.bad_words.end(), ids) == sampling.bad_words.end())
        sampling.bad_words.push_back(std::move(ids));
    }
  }
  check_limit(service.limits(), &ServeLimits::max_bad_words, static_cast<std::int64_t>(sampling.bad_words.size()),
              "bad_words");
}

engine::Request engine_request(const Service&, const JobSpec& spec, std::vector<std::int32_t> prompt,
                               std::int64_t max_tokens) {
  engine::Request request;
  request.prompt = std::move(prompt);
  request.sampling = spec.common.sampling;
  request.sampling.max_tokens = max_tokens;
  if (request.sampling.min_tokens > max_tokens) {
    throw ApiError(400,
                   fmt::format("min_tokens: {} is more than max_tokens, {}", request.sampling.min_tokens, max_tokens),
                   "min_tokens");
  }
  request.sampling.logprobs = spec.logprobs;
  request.sampling.prompt_logprobs = spec.common.prompt_logprobs;
  if (spec.echo_logprobs) {
    const std::int64_t wanted = *spec.logprobs;
    const std::int64_t other = spec.common.prompt_logprobs.value_or(0);
    request.sampling.prompt_logprobs = wanted < 0 || other < 0 ? -1 : std::max(wanted, other);
  }
  request.n = spec.common.n;
  // Every tenant's name is as long as any other's, or there is none: two pairs never make one text.
  request.cache_salt = spec.tenant + spec.common.cache_salt;
  return request;
}

}  // namespace awq::server
