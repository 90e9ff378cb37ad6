#pragma once

#include <cstdint>
#include <span>

#include "kernels/api/attention.h"
#include "kernels/api/cuda_token.h"
#include "model/decoder.h"

namespace awq::gpu {

constexpr std::int64_t blocks_for(std::int64_t tokens) {
  return (tokens + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens;
}

/// Where the numbers that describe a batch lie in one run of 32-bit words, on the host and on the device: so they go
/// over in one copy, and a recorded step finds the next ones in the same places.
struct BatchLayout {
  std::int64_t tokens = 0;
  std::int64_t sequences = 0;
  std::int64_t block_stride = 0;  ///< entries of a block table

  constexpr std::int64_t ids() const { return 0; }
  constexpr std::int64_t token_sequence() const { return tokens; }
  constexpr std::int64_t past() const { return 2 * tokens; }
  constexpr std::int64_t query_begin() const { return past() + sequences; }
  constexpr std::int64_t blocks() const { return query_begin() + sequences + 1; }
  constexpr std::int64_t results() const { return blocks() + sequences * block_stride; }
  constexpr std::int64_t words() const { return results() + tokens; }

  /// The batch of words that lie at `device`. `max_queries`, `max_length`: bounds, see SequenceBatch.
  kernels::cuda::SequenceBatch view(const std::int32_t* device, std::int64_t max_queries,
                                    std::int64_t max_length) const;
};

/// Longest slice, and past and new tokens of the longest sequence.
struct BatchBounds {
  std::int64_t max_queries = 0, max_length = 0;
};
BatchBounds bounds_of(std::span<const model::SequenceSlice> slices);

/// Tokens of `slices` whose hidden states the caller needs: those that write_batch() lists.
std::int64_t result_count(std::span<const model::SequenceSlice> slices);

/// Writes layout.words() words, of those at results() as many as there are results: tokens of the batch, rising.
/// Sequences beyond `slices` are padding: one token of id 0 without past, whose keys and values go to `spare_block`; so
/// do table entries that no token needs. Throws kInvalidArgument for an id outside of the vocabulary, kInternal when
/// slices and tables do not fit.
void write_batch(const BatchLayout& layout, std::span<const std::int32_t> ids,
                 std::span<const model::SequenceSlice> slices, std::int64_t vocab_size, std::int32_t spare_block,
                 std::int32_t* words);

}  // namespace awq::gpu
