#include "engine/language_step_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/resources.h"
#include "model/rope_frequencies.h"

namespace awq::engine {
namespace {

std::int64_t blocks_for(std::int64_t tokens) {
  return static_cast<std::int64_t>(
      ceil_div(static_cast<std::uint64_t>(tokens), static_cast<std::uint64_t>(kernels::kKvBlockTokens)));
}

}  // namespace

std::int64_t cached_context(const model::ModelConfig& config) {
  const std::int64_t context = config.max_position_embeddings;
  if (!model::depends_on_length(config.rope)) return context;
  return std::min(context, config.rope.original_max_position_embeddings);
}

std::int64_t plan_kv_blocks(const model::ModelConfig& config, const EngineOptions& options) {
  const std::int64_t context = cached_context(config);
  const std::int64_t length = options.max_model_len > 0 ? std::min(options.max_model_len, context) : context;
  const std::uint64_t block_bytes = model::KvPool::block_bytes(config, options.kv_dtype);
  const std::uint64_t wanted = checked_mul(static_cast<std::uint64_t>(blocks_for(length)),
                                           static_cast<std::uint64_t>(std::max<std::int64_t>(1, options.max_num_seqs)))
                                   .value_or(UINT64_MAX);
  std::uint64_t blocks = 0;
  if (options.kv_cache_memory_bytes > 0) {
    blocks = options.kv_cache_memory_bytes / block_bytes;
  } else {
    const auto free = available_memory_bytes();
    blocks = free.has_value() ? std::min(wanted, *free / 2 / block_bytes) : wanted;
  }
  blocks = std::min<std::uint64_t>(blocks, INT32_MAX - 1);
  if (blocks == 0) {
    fail(ErrorCode::kOutOfMemory,
         "the smallest KV cache, {} tokens, takes {} bytes ({}): set --kv-cache-memory-bytes to more, or a smaller "
         "--kv-cache-dtype",
         kernels::kKvBlockTokens, block_bytes, ops::kv_dtype_name(options.kv_dtype));
  }
  if (options.max_model_len > 0 && blocks < static_cast<std::uint64_t>(blocks_for(length))) {
    fail(ErrorCode::kOutOfMemory,
         "a sequence of {} tokens needs {} bytes of KV cache ({}), there are {}: set --max-model-len to at most {}, or "
         "--kv-cache-memory-bytes, or a smaller --kv-cache-dtype",
         length, static_cast<std::uint64_t>(blocks_for(length)) * block_bytes, ops::kv_dtype_name(options.kv_dtype),
         blocks * block_bytes, blocks * static_cast<std::uint64_t>(kernels::kKvBlockTokens));
  }
  return static_cast<std::int64_t>(blocks);
}

LanguageStepModel::LanguageStepModel(model::LanguageModel& model, const EngineOptions& options)
    : model_(model),
      pool_(model.config(), options.kv_dtype, plan_kv_blocks(model.config(), options)),
      step_tokens_(options.max_num_batched_tokens) {
  const std::int64_t longest = std::min(max_model_len(), block_count() * block_size());
  model.set_row_invariant(true);
  model.reserve(options.max_num_batched_tokens, options.max_num_seqs,
                options.max_model_len > 0 ? std::min(options.max_model_len, longest) : longest, kLogitRows);
}

}  // namespace awq::engine
