#include "server/openai/common_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "server/openai/constraint_fields.h"

namespace awq::server {
namespace {

constexpr std::int64_t kMaxInt64 = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMinInt64 = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMaxStreamInterval = 1024;
constexpr std::size_t kMaxSaltBytes = 256;

void refuse_unsupported(const Fields& fields) {
  const auto refuse = [&](const char* name) { fields.refuse(name, "this server does not support it"); };
  if (fields.boolean("use_beam_search").value_or(false)) refuse("use_beam_search");
  if (fields.has("prompt_embeds")) refuse("prompt_embeds");
}

double at_least_zero_exclusive(const Fields& fields, const char* name, double value, double high) {
  if (!(value > 0 && value <= high)) {
    fields.refuse(name, std::isinf(high) ? fmt::format("{} is not more than 0", value)
                                         : fmt::format("{} is not more than 0 and at most {}", value, high));
  }
  return value;
}

void read_bias(const Fields& fields, const ServeLimits& limits, engine::SamplingParams& sampling) {
  const OrderedJson* bias = fields.object("logit_bias");
  if (bias == nullptr) return;
  check_limit(limits, &ServeLimits::max_logit_bias, static_cast<std::int64_t>(bias->size()), "logit_bias");
  for (const auto& [key, value] : bias->items()) {
    std::int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      fields.refuse("logit_bias", fmt::format("\"{}\" is not a token id", printable(key)));
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      fields.refuse("logit_bias", fmt::format("the bias of token {} is not a number", id));
    sampling.bias.emplace_back(id, static_cast<float>(std::clamp(value.get<double>(), -100.0, 100.0)));
  }
}

void read_sampling(const Fields& fields, const ServeLimits& limits, const GenerationDefaults& defaults,
                   CommonFields& out) {
  engine::SamplingParams& s = out.sampling;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  s.temperature = fields.number_in("temperature", defaults.temperature.value_or(1), 0, 2);
  s.top_p = at_least_zero_exclusive(fields, "top_p", fields.number("top_p").value_or(defaults.top_p.value_or(1)), 1);
  s.top_k = fields.integer_in("top_k", defaults.top_k.value_or(0), -1, kMaxInt64);
  if (s.top_k < 0) s.top_k = 0;
  s.min_p = fields.number_in("min_p", defaults.min_p.value_or(0), 0, 1);
  std::optional<double> repetition = fields.number("repetition_penalty");
  if (!repetition) repetition = fields.number("repeat_penalty");  // the spelling of llama-server
  s.repetition_penalty = at_least_zero_exclusive(
      fields, "repetition_penalty", repetition.value_or(defaults.repetition_penalty.value_or(1)), kInfinity);
  s.presence_penalty = fields.number_in("presence_penalty", 0, -2, 2);
  s.frequency_penalty = fields.number_in("frequency_penalty", 0, -2, 2);
  read_bias(fields, limits, s);
  out.seed = fields.integer_in("seed", -1, kMinInt64, kMaxInt64);
  if (*out.seed == -1) out.seed.reset();
  s.min_tokens = fields.integer_in("min_tokens", 0, 0, kMaxInt64);
  s.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  s.stop_token_ids = fields.ids("stop_token_ids");
  check_limit(limits, &ServeLimits::max_stop_token_ids, static_cast<std::int64_t>(s.stop_token_ids.size()),
              "stop_token_ids");
  s.allowed_token_ids = fields.ids("allowed_token_ids");
  if (fields.has("allowed_token_ids") && s.allowed_token_ids.empty())
    fields.refuse("allowed_token_ids", "expected at least one token id");
  out.bad_words = fields.texts("bad_words");
  check_limit(limits, &ServeLimits::max_bad_words, static_cast<std::int64_t>(out.bad_words.size()), "bad_words");
  for (const std::string& word : out.bad_words) {
    if (word.empty()) fields.refuse("bad_words", "a word is empty");
  }
  out.n = fields.integer_in("n", 1, 1, kMaxInt64);
  check_limit(limits, &ServeLimits::max_n, out.n, "n");
  const std::int64_t best_of = fields.integer_in("best_of", out.n, 1, kMaxInt64);
  check_limit(limits, &ServeLimits::max_n, best_of, "best_of");
  if (best_of != out.n) fields.refuse("best_of", fmt::format("{} differs from n, {}: not supported", best_of, out.n));
  if (out.n > 1 && s.temperature == 0) fields.refuse("n", "more than one choice needs a temperature above 0");
}

void read_logprob_ids(const Fields& fields, engine::SamplingParams& sampling) {
  std::vector<std::int32_t>& ids = sampling.logprob_token_ids;
  ids = fields.ids("logprob_token_ids");
  const auto most = static_cast<std::size_t>(engine::RequestLimits{}.max_logprob_ids);
  if (ids.size() > most)
    fields.refuse("logprob_token_ids", fmt::format("{} entries, expected at most {}", ids.size(), most));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

void read_repetition(const Fields& fields, engine::RepetitionRule& rule) {
  const OrderedJson* given = fields.object("repetition_detection");
  if (given == nullptr) return;
  const Fields inner(*given, "repetition_detection");
  rule.max_pattern_size = inner.integer_in("max_pattern_size", 0, 0, engine::RequestLimits{}.max_pattern_size);
  if (rule.max_pattern_size == 0) return;  // off
  rule.min_pattern_size = inner.integer_in("min_pattern_size", 1, 0, rule.max_pattern_size);
  rule.min_pattern_size = std::max<std::int64_t>(rule.min_pattern_size, 1);  // vLLM takes 0 for 1
  if (!inner.has("min_count")) inner.refuse("min_count", "expected 2 or more");
  rule.min_count = inner.integer_in("min_count", 2, 2, kMaxInt64);
}

void read_request_id(const Fields& fields, CommonFields& out) {
  const auto id = fields.text("request_id");
  if (!id) return;
  if (!is_plain_id(*id)) {
    fields.refuse("request_id", fmt::format("expected 1 to {} visible ASCII characters without quotes", kMaxIdBytes));
  }
  out.request_id = *id;
}

void read_stop(const Fields& fields, const ServeLimits& limits, CommonFields& out) {
  out.stop = fields.texts("stop");
  check_limit(limits, &ServeLimits::max_stop_strings, static_cast<std::int64_t>(out.stop.size()), "stop");
  for (const std::string& stop : out.stop) {
    if (stop.empty()) fields.refuse("stop", "a stop string is empty");
    check_limit(limits, &ServeLimits::max_stop_bytes, static_cast<std::int64_t>(stop.size()), "stop");
  }
  out.include_stop = fields.boolean("include_stop_str_in_output").value_or(false);
}

void read_stream(const Fields& fields, CommonFields& out) {
  out.stream = fields.boolean("stream").value_or(false);
  if (const OrderedJson* options = fields.object("stream_options")) {
    if (!out.stream) fields.refuse("stream_options", "only with stream: true");
    const Fields inner(*options, "stream_options");
    out.include_usage = inner.boolean("include_usage").value_or(false);
    out.continuous_usage = out.include_usage && inner.boolean("continuous_usage_stats").value_or(false);
  }
  out.stream_interval = fields.integer_in("stream_interval", 1, 1, kMaxStreamInterval);
}

void read_prompt_options(const Fields& fields, const ServeLimits& limits, CommonFields& out) {
  if (fields.has("truncate_prompt_tokens"))
    out.truncate_prompt_tokens = fields.integer_in("truncate_prompt_tokens", -1, -1, kMaxInt64);
  if (const auto side = fields.text("truncation_side")) {
    if (*side != "left" && *side != "right") fields.refuse("truncation_side", "expected left or right");
    out.truncate_left = *side == "left";
  }
  if (fields.has("prompt_logprobs")) {
    out.prompt_logprobs = fields.integer_in("prompt_logprobs", 0, -1, kMaxInt64);
    if (out.stream) fields.refuse("prompt_logprobs", "not together with stream");
    if (limits.max_logprobs >= 0) {
      if (*out.prompt_logprobs == -1)
        fields.refuse("prompt_logprobs", "-1 is not allowed on this server (--max-logprobs)");
      check_limit(limits, &ServeLimits::max_logprobs, *out.prompt_logprobs, "prompt_logprobs");
    }
  }
  if (const auto salt = fields.text("cache_salt")) {
    if (salt->empty() || salt->size() > kMaxSaltBytes)
      fields.refuse("cache_salt", fmt::format("expected 1 to {} bytes", kMaxSaltBytes));
    out.cache_salt = *salt;
  }
}

}  // namespace

void check_limit(const ServeLimits& limits, LimitField limit, std::int64_t found, const std::string& field) {
  if (found > limits.*limit) throw beyond_limit(limit, found, limits.*limit, field);
}

void check_choices(const ServeLimits& limits, std::int64_t prompts, std::int64_t n) {
  const std::int64_t most = limits.max_choices_per_request;
  if (n <= most / prompts) return;
  throw ApiError(400,
                 fmt::format("n: {} choices for each of {} prompts are more than the {} of a request that this server "
                             "allows (--max-choices-per-request)",
                             n, prompts, most),
                 "n")
      .set_limit(&ServeLimits::max_choices_per_request);
}

void merge_defaults(GenerationDefaults& defaults, const OrderedJson& json, const std::string& name) {
  try {
    const Fields fields(json);
    constexpr double kLarge = 1e6;
    if (fields.has("temperature")) defaults.temperature = fields.number_in("temperature", 1, 0, 2);
    if (fields.has("top_p")) defaults.top_p = fields.number_in("top_p", 1, 1e-9, 1);
    if (fields.has("min_p")) defaults.min_p = fields.number_in("min_p", 0, 0, 1);
    if (fields.has("repetition_penalty"))
      defaults.repetition_penalty = fields.number_in("repetition_penalty", 1, 1e-9, kLarge);
    if (fields.has("top_k")) defaults.top_k = fields.integer_in("top_k", 0, -1, kMaxInt64);
    if (fields.has("max_new_tokens")) defaults.max_new_tokens = fields.integer_in("max_new_tokens", 1, 1, kMaxInt64);
  } catch (const ApiError& error) {
    fail(ErrorCode::kCorruptFile, "{}: {}", name, error.message());
  }
}

CommonFields read_common(const Fields& fields, const ServeLimits& limits, const GenerationDefaults& defaults) {
  CommonFields out;
  refuse_unsupported(fields);
  out.model = fields.text("model").value_or("");
  read_sampling(fields, limits, defaults, out);
  read_logprob_ids(fields, out.sampling);
  read_repetition(fields, out.sampling.repetition);
  read_stop(fields, limits, out);
  read_stream(fields, out);
  read_prompt_options(fields, limits, out);
  out.constraint = read_constraint(fields, limits);
  out.skip_special_tokens = fields.boolean("skip_special_tokens").value_or(true);
  fields.boolean("spaces_between_special_tokens");
  out.priority = fields.integer_in("priority", 0, kMinInt64, kMaxInt64);
  if (out.priority != 0) fields.refuse("priority", "this server runs requests in the order of their arrival");
  out.tokens_as_ids = fields.boolean("return_tokens_as_token_ids").value_or(false);
  out.return_token_ids = fields.boolean("return_token_ids").value_or(false);
  fields.text("user");
  read_request_id(fields, out);
  return out;
}

}  // namespace awq::server
