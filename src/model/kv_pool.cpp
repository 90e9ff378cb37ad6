#include "model/kv_pool.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/check.h"
#include "base/checked_math.h"
#include "model/rope_frequencies.h"

namespace awq::model {
namespace {

kernels::KvLayout layout_of(const ModelConfig& config, ops::KvDtype dtype) {
  constexpr kernels::KvType kTypes[] = {kernels::KvType::kF32, kernels::KvType::kBf16, kernels::KvType::kF16,
                                        kernels::KvType::kInt8, kernels::KvType::kE4M3};
  return {kTypes[static_cast<std::size_t>(dtype)], config.head_dim};
}

}  // namespace

std::uint64_t KvPool::block_bytes(const ModelConfig& config, ops::KvDtype dtype) {
  return static_cast<std::uint64_t>(config.num_hidden_layers * config.num_key_value_heads *
                                    layout_of(config, dtype).head_bytes());
}

KvPool::KvPool(const ModelConfig& config, ops::KvDtype dtype, std::int64_t block_count)
    : layout_(layout_of(config, dtype)), num_kv_heads_(config.num_key_value_heads), block_count_(block_count) {
  layer_bytes_ = static_cast<std::uint64_t>(block_count * num_kv_heads_ * layout_.head_bytes());
  const auto bytes = checked_mul(block_bytes(config, dtype), static_cast<std::uint64_t>(block_count));
  if (!bytes.has_value())
    fail(ErrorCode::kOutOfMemory, "a KV cache of {} blocks is larger than memory can be", block_count);
  memory_ = AlignedBuffer<std::byte>(*bytes);
  // Page faults belong to the start, not to the requests. Any thread may read any block, so that huge pages go to the
  // threads in turn: each layer then lies on all memory nodes.
  constexpr std::int64_t kPage = 4096;
  constexpr std::int64_t kTurn = std::int64_t{2} << 20;
  const auto size = static_cast<std::int64_t>(*bytes);
#pragma omp parallel for schedule(static, 1) if (size >= 8 * kTurn)
  for (std::int64_t turn = 0; turn < size; turn += kTurn) {
    for (std::int64_t at = turn; at < std::min(size, turn + kTurn); at += kPage) {
      memory_[static_cast<std::size_t>(at)] = std::byte{0};
    }
  }
}

ops::KvView KvPool::layer(std::int64_t i) const {
  auto* data = const_cast<std::byte*>(memory_.data()) + static_cast<std::uint64_t>(i) * layer_bytes_;
  return {.layout = layout_, .num_kv_heads = num_kv_heads_, .data = data};
}

KvCache::KvCache(const ModelConfig& config, std::int64_t initial_capacity) : config_(config) {
  reserve(initial_capacity);
}

void KvCache::reserve(std::int64_t tokens) {
  if (tokens <= capacity()) return;
  const std::int64_t grown = std::max(tokens, capacity() + capacity() / 2);
  const auto count = static_cast<std::int64_t>(
      ceil_div(static_cast<std::uint64_t>(grown), static_cast<std::uint64_t>(kernels::kKvBlockTokens)));
  KvPool larger(config_, ops::KvDtype::kF32, count);
  for (std::int64_t i = 0; i < config_.num_hidden_layers && pool_.block_count() > 0; ++i) {
    const ops::KvView from = pool_.layer(i);
    std::memcpy(larger.layer(i).data, from.data, static_cast<std::size_t>(pool_.block_count() * from.block_bytes()));
  }
  pool_ = std::move(larger);
  blocks_.resize(static_cast<std::size_t>(count));
  std::iota(blocks_.begin(), blocks_.end(), 0);
}

bool cache_is_valid(const ModelConfig& config, std::int64_t length) {
  return !depends_on_length(config.rope) || length <= config.rope.original_max_position_embeddings;
}

}  // namespace awq::model
