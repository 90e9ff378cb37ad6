#include "server/limits.h"

#include "base/check.h"

namespace awq {
namespace {

using L = ServeLimits;
constexpr std::int64_t kKiB = 1 << 10, kMiB = 1 << 20, kGiB = 1 << 30;
constexpr std::int64_t kDayMs = 86'400'000;

// name, field, smallest, largest, status, meaning
constexpr ServeLimitInfo kTable[] = {
    {"max-connections", &L::max_connections, 1, 65536, 503, "open connections"},
    {"max-connections-per-address", &L::max_connections_per_address, 1, 65536, 429, "open connections of one address"},
    {"max-request-line-bytes", &L::max_request_line_bytes, 64, 64 * kKiB, 414, "method, target and version"},
    {"max-header-bytes", &L::max_header_bytes, 256, kMiB, 431, "request line and headers"},
    {"max-headers", &L::max_headers, 4, 1000, 431, "header fields of a request"},
    {"max-body-bytes", &L::max_body_bytes, 64, kGiB, 413, "decoded body of a request"},
    {"max-total-body-bytes", &L::max_total_body_bytes, 64, 64 * kGiB, 503, "bodies held for all connections together"},
    {"max-pipelined-bytes", &L::max_pipelined_bytes, 0, 16 * kMiB, 0, "sent before the answer to the request before"},
    {"max-stream-buffer-bytes", &L::max_stream_buffer_bytes, kKiB, kGiB, 0,
     "of a stream that its client does not read"},
    {"max-json-depth", &L::max_json_depth, 4, 256, 400, "levels of the request's JSON"},
    {"max-json-values", &L::max_json_values, 16, 100'000'000, 400, "values in the request's JSON"},
    {"head-timeout-ms", &L::head_timeout_ms, 10, kDayMs, 408, "from the first byte to the end of the headers"},
    {"body-timeout-ms", &L::body_timeout_ms, 10, kDayMs, 408, "from the headers to the end of the body"},
    {"idle-timeout-ms", &L::idle_timeout_ms, 10, kDayMs, 0, "between requests of a connection"},
    {"write-timeout-ms", &L::write_timeout_ms, 10, kDayMs, 0, "without the client taking a byte of its answer"},
    {"queue-timeout-ms", &L::queue_timeout_ms, 10, kDayMs, 503, "until the first step of a request"},
    {"request-timeout-ms", &L::request_timeout_ms, 10, 30 * kDayMs, 504, "a whole request"},
    {"drain-timeout-ms", &L::drain_timeout_ms, 0, kDayMs, 503, "for running requests after the signal to stop"},
    {"max-requests", &L::max_requests, 1, 65536, 429, "requests that run or wait"},
    {"max-queued-tokens", &L::max_queued_tokens, 1, 1LL << 40, 429, "prompt and output of all of them"},
    {"max-prompt-tokens", &L::max_prompt_tokens, 1, 1 << 24, 400, "tokens of a prompt"},
    {"max-output-tokens", &L::max_output_tokens, 1, 1 << 24, 400, "max_tokens of a request"},
    {"max-prompts", &L::max_prompts, 1, 16384, 400, "prompts of a completion request"},
    {"max-n", &L::max_n, 1, 1024, 400, "n, and best_of, which has to equal it"},
    {"max-choices-per-request", &L::max_choices_per_request, 1, 1 << 17, 400, "choices of all prompts of a request"},
    {"max-logprobs", &L::max_logprobs, -1, 1 << 20, 400, "alternatives per token; -1: no limit"},
    {"max-stop-strings", &L::max_stop_strings, 0, 256, 400, "stop strings"},
    {"max-stop-bytes", &L::max_stop_bytes, 1, 64 * kKiB, 400, "of one stop string"},
    {"max-stop-token-ids", &L::max_stop_token_ids, 0, 4096, 400, "stop_token_ids"},
    {"max-logit-bias", &L::max_logit_bias, 0, 65536, 400, "entries of logit_bias"},
    {"max-bad-words", &L::max_bad_words, 0, 1024, 400, "token sequences of bad_words"},
    {"max-messages", &L::max_messages, 1, 65536, 400, "messages of a chat"},
    {"max-tools", &L::max_tools, 0, 4096, 400, "tools of a chat"},
    {"max-schema-bytes", &L::max_schema_bytes, 2, 16 * kMiB, 400, "JSON schemas, those of tools together"},
    {"max-pattern-bytes", &L::max_pattern_bytes, 1, kMiB, 400, "structured_outputs.regex"},
    {"max-grammar-bytes", &L::max_grammar_bytes, 1, 16 * kMiB, 400, "structured_outputs.grammar"},
    {"max-choices", &L::max_choices, 1, 65536, 400, "entries of structured_outputs.choice"},
    {"max-grammar-states", &L::max_grammar_states, 1000, 10'000'000, 400, "states of a constraint's automaton"},
    {"max-grammar-work", &L::max_grammar_work, 1000, 1'000'000'000, 400, "steps of a constraint for one token"},
    {"max-template-steps", &L::max_template_steps, 1000, 1'000'000'000, 400, "steps of the chat template"},
    {"max-template-bytes", &L::max_template_bytes, 64, kGiB, 400, "of the text that the chat template makes"},
};

}  // namespace

std::span<const ServeLimitInfo> serve_limits() { return kTable; }

namespace server {

const ServeLimitInfo& limit_info(LimitField field) {
  for (const ServeLimitInfo& row : kTable) {
    if (row.field == field) return row;
  }
  fail(ErrorCode::kInternal, "a limit without a row in the table");
}

void check_limits(const ServeLimits& limits) {
  for (const ServeLimitInfo& row : kTable) {
    const std::int64_t value = limits.*row.field;
    if (value < row.min || value > row.max)
      fail(ErrorCode::kInvalidArgument, "--{} {}: expected {} to {}", row.name, value, row.min, row.max);
  }
}

}  // namespace server
}  // namespace awq
