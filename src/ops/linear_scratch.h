#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"

namespace awq::ops {

/// Buffers of the thread that calls forward(), grown to the largest call and kept: a step allocates nothing. Of the
/// files of Linear alone.
struct LinearScratch {
  AlignedBuffer<std::int8_t> codes;
  AlignedBuffer<float> scales, minus_sums, group_sums, ordered;
  AlignedBuffer<std::int32_t> minus_pairs;
  AlignedBuffer<std::uint16_t> halves;
};
LinearScratch& linear_scratch();

}  // namespace awq::ops
