#include "gpu/batch.h"

#include <algorithm>

#include "base/check.h"

namespace awq::gpu {

kernels::cuda::SequenceBatch BatchLayout::view(const std::int32_t* device, std::int64_t max_queries,
                                               std::int64_t max_length) const {
  return {.sequences = static_cast<std::int32_t>(sequences),
          .tokens = static_cast<std::int32_t>(tokens),
          .max_queries = static_cast<std::int32_t>(max_queries),
          .max_length = static_cast<std::int32_t>(max_length),
          .query_begin = device + query_begin(),
          .past = device + past(),
          .blocks = device + blocks(),
          .block_stride = static_cast<std::int32_t>(block_stride),
          .token_sequence = device + token_sequence()};
}

BatchBounds bounds_of(std::span<const model::SequenceSlice> slices) {
  BatchBounds out;
  for (const model::SequenceSlice& slice : slices) {
    out.max_queries = std::max(out.max_queries, slice.token_count);
    out.max_length = std::max(out.max_length, slice.past + slice.token_count);
  }
  return out;
}

std::int64_t result_count(std::span<const model::SequenceSlice> slices) {
  std::int64_t count = 0;
  for (const model::SequenceSlice& slice : slices) count += slice.result_count();
  return count;
}

void write_batch(const BatchLayout& layout, std::span<const std::int32_t> ids,
                 std::span<const model::SequenceSlice> slices, std::int64_t vocab_size, std::int32_t spare_block,
                 std::int32_t* words) {
  const auto given = static_cast<std::int64_t>(slices.size());
  const auto padding = layout.sequences - given;
  AWQ_CHECK(padding >= 0 && static_cast<std::int64_t>(ids.size()) + padding == layout.tokens);
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      fail(ErrorCode::kInvalidArgument, "token id {} is outside the vocabulary of {}", id, vocab_size);
    }
  }
  std::int32_t* to_ids = std::copy(ids.begin(), ids.end(), words + layout.ids());
  std::fill(to_ids, words + layout.ids() + layout.tokens, 0);
  std::int32_t* token_sequence = words + layout.token_sequence();
  std::int32_t* past = words + layout.past();
  std::int32_t* query_begin = words + layout.query_begin();
  std::int32_t* table = words + layout.blocks();
  std::int32_t* result = words + layout.results();
  std::int64_t token = 0;
  for (std::int64_t i = 0; i < layout.sequences; ++i) {
    const model::SequenceSlice pad{.token_count = 1};
    const model::SequenceSlice& slice = i < given ? slices[static_cast<std::size_t>(i)] : pad;
    AWQ_CHECK(slice.cache == nullptr && slice.token_count > 0 && token + slice.token_count <= layout.tokens);
    AWQ_CHECK(slice.results <= slice.token_count);
    query_begin[i] = static_cast<std::int32_t>(token);
    past[i] = static_cast<std::int32_t>(slice.past);
    std::fill_n(token_sequence + token, slice.token_count, static_cast<std::int32_t>(i));
    token += slice.token_count;
    if (i < given) {
      for (std::int64_t t = token - slice.result_count(); t < token; ++t) *result++ = static_cast<std::int32_t>(t);
    }
    const std::int64_t needed = i < given ? blocks_for(slice.past + slice.token_count) : 0;
    AWQ_CHECK(needed <= layout.block_stride && needed <= static_cast<std::int64_t>(slice.blocks.size()));
    std::int32_t* row = table + i * layout.block_stride;
    std::fill(std::copy_n(slice.blocks.begin(), needed, row), row + layout.block_stride, spare_block);
  }
  AWQ_CHECK(token == layout.tokens);
  query_begin[layout.sequences] = static_cast<std::int32_t>(token);
}

}  // namespace awq::gpu
