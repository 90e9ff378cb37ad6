#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/cpu_features.h"
#include "kernels/api/linear.h"

namespace awq::ops {

// What the files of Linear share, and the choice of kernels.

/// Inputs that the calling thread rounds alone, because a barrier would take longer.
inline constexpr std::int64_t kSerialInputs = 1 << 14;
/// Products that one thread finishes before a second one has begun.
inline constexpr std::int64_t kSerialProducts = 1 << 16;

/// True when the kernels for few rows run over tiles of dense weights for any number of rows: widening 16-bit weights
/// in registers for every few rows again is faster than widening them into memory for a product of oneDNN.
inline bool runs_in_tiles(kernels::WeightKind kind) {
  return kind != kernels::WeightKind::kF32 && active_isa() != Isa::kScalar;
}

/// Buffers of the thread that calls forward(), grown to the largest call and kept: a step allocates nothing.
struct LinearScratch {
  AlignedBuffer<std::int8_t> codes;
  AlignedBuffer<float> scales, minus_sums, group_sums, ordered;
  AlignedBuffer<std::int32_t> minus_pairs;
  AlignedBuffer<std::uint16_t> halves;
};
LinearScratch& linear_scratch();

}  // namespace awq::ops
