// The checks of EngineOptions, and what a model fills in.

#include <algorithm>

#include "base/check.h"
#include "engine/engine_core.h"

namespace awq::engine {
namespace {

static_assert(kMaxSpecTokens < kLogitRows);

void require(bool ok, const char* name, std::int64_t value, const char* expected) {
  if (!ok) fail(ErrorCode::kInvalidArgument, "{} {}: expected {}", name, value, expected);
}

}  // namespace

void check_sizes(const EngineOptions& o) {
  require(o.max_num_seqs >= 1 && o.max_num_seqs <= 4096, "--max-num-seqs", o.max_num_seqs, "1 to 4096");
  require(o.max_num_batched_tokens > o.max_num_seqs && o.max_num_batched_tokens <= 1 << 20, "--max-num-batched-tokens",
          o.max_num_batched_tokens, "more than --max-num-seqs, at most 1048576");
  require(o.max_model_len >= 0, "--max-model-len", o.max_model_len, "0 or more");
}

EngineOptions completed(EngineOptions o, const StepModel& model) {
  check_sizes(o);
  require(o.max_waiting_requests >= 1, "max_waiting_requests", o.max_waiting_requests, "1 or more");
  require(o.max_waiting_tokens >= 1, "max_waiting_tokens", o.max_waiting_tokens, "1 or more");
  require(o.constraint_work_per_step >= 1, "constraint_work_per_step", o.constraint_work_per_step, "1 or more");
  require(o.spec_tokens >= 0 && o.spec_tokens <= kMaxSpecTokens, "--spec-tokens", o.spec_tokens, "0 to 15");
  require(o.spec_ngram_min >= 1 && o.spec_ngram_min <= o.spec_ngram_max, "spec_ngram_min", o.spec_ngram_min,
          "1 to spec_ngram_max");
  if (o.max_model_len > model.max_model_len()) {
    fail(ErrorCode::kInvalidArgument, "--max-model-len {}: expected at most the context of the model, {}",
         o.max_model_len, model.max_model_len());
  }
  const std::int64_t room = model.block_count() * model.block_size();
  if (o.max_model_len == 0) o.max_model_len = std::min(model.max_model_len(), room);
  if (room < o.max_model_len) {
    fail(ErrorCode::kOutOfMemory,
         "the KV cache holds {} tokens, a sequence of --max-model-len {} does not fit: make the cache larger "
         "(--kv-cache-memory-bytes) or --max-model-len at most {}",
         room, o.max_model_len, room);
  }
  o.limits.vocab_size = model.vocab_size();
  o.limits.max_model_len = o.max_model_len;
  return o;
}

}  // namespace awq::engine
