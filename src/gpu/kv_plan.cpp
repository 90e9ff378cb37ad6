#include "gpu/kv_plan.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "gpu/batch.h"

namespace awq::gpu {

std::int64_t plan_kv_blocks(const KvPlan& plan) {
  if (!(plan.memory_utilization > 0 && plan.memory_utilization <= 1)) {
    fail(ErrorCode::kInvalidArgument, "--gpu-memory-utilization {}: expected more than 0, at most 1",
         plan.memory_utilization);
  }
  AWQ_CHECK(plan.block_bytes > 0 && plan.max_model_len > 0);
  std::uint64_t bytes = plan.cache_bytes;
  if (bytes == 0) {
    const auto allowed = static_cast<std::uint64_t>(plan.memory_utilization * static_cast<double>(plan.total_bytes));
    const std::uint64_t used = plan.total_bytes - std::min(plan.total_bytes, plan.free_bytes);
    bytes = std::min(allowed - std::min(allowed, used), plan.free_bytes);
  }
  const auto one = static_cast<std::uint64_t>(blocks_for(plan.max_model_len));
  std::uint64_t blocks = bytes / plan.block_bytes;
  blocks -= std::min<std::uint64_t>(blocks, 1);  // the one for padding
  if (!plan.fill_memory) {
    blocks = std::min(blocks, checked_mul(one, static_cast<std::uint64_t>(std::max<std::int64_t>(1, plan.max_num_seqs)))
                                  .value_or(UINT64_MAX));
  }
  blocks = std::min<std::uint64_t>(blocks, INT32_MAX - 2);
  if (blocks == 0 || (blocks < one && !plan.allow_short)) {
    fail(ErrorCode::kOutOfMemory,
         "device memory: a sequence of {} tokens needs {} bytes of KV cache, there are {}: set --max-model-len to at "
         "most {}, or a larger --kv-cache-memory-bytes or --gpu-memory-utilization, or a smaller --kv-cache-dtype",
         plan.max_model_len, one * plan.block_bytes, blocks * plan.block_bytes,
         blocks * static_cast<std::uint64_t>(kernels::kKvBlockTokens));
  }
  return static_cast<std::int64_t>(blocks);
}

}  // namespace awq::gpu
