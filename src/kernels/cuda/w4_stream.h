#pragma once

#include <cstdint>

#include "base/host_device.h"
#include "kernels/api/cuda_linear.h"

/// Index arithmetic of the packed stream (docs/layouts/cuda-w4.md), the same for the packer, the kernels and the tests.
namespace awq::kernels::cuda {

/// Sums over K are cut into this many leaves, whatever M and N: the largest power of two up to K / 768, 1 to 8.
AWQ_HOST_DEVICE constexpr int w4_leaves(std::int64_t k) {
  const std::int64_t steps = (k + 127) / 128;
  return steps >= 48 ? 8 : steps >= 24 ? 4 : steps >= 12 ? 2 : 1;
}
/// First step of 128 inputs of leaf `i`.
AWQ_HOST_DEVICE constexpr int w4_leaf_begin(int i, int steps, int leaves) { return i * steps / leaves; }

/// Byte offset of the slab of 16 rows and 128 inputs that holds (row, input).
constexpr std::int64_t w4_slab_offset(const W4Layout& l, std::int64_t row, std::int64_t input) {
  return row / 128 * l.strip_bytes() + input / 128 * l.step_bytes() + (row / 16 & 7) * l.slab_bytes();
}
/// Byte offset of the 16 bytes that one lane loads: its codes of four tiles of 16 x 16.
constexpr std::int64_t w4_vector_offset(const W4Layout& l, std::int64_t row, std::int64_t input) {
  return w4_slab_offset(l, row, input) + (input / 64 & 1) * 512 + (4 * (row & 7) + (input / 2 & 3)) * 16;
}
/// Bit of the code inside those 16 bytes: word by tile, then which of a pair, which half of 16 inputs, which 8 rows.
constexpr int w4_code_bit(std::int64_t row, std::int64_t input) {
  return static_cast<int>(32 * (input / 16 & 3) + 16 * (input & 1) + 8 * (input / 8 & 1) + 4 * (row / 8 & 1));
}
/// Byte offset of the scale (F16): after the codes, 32 bytes per group, rows g and g + 8 side by side.
constexpr std::int64_t w4_scale_offset(const W4Layout& l, std::int64_t row, std::int64_t input) {
  const std::int64_t group = l.group_size >= 128 ? 0 : (input & 127) / l.group_size;
  return w4_slab_offset(l, row, input) + 1024 + group * 32 + (row & 7) * 4 + 2 * (row / 8 & 1);
}
/// Byte offset of the zero point: after all scales, 8 bytes per group; low nibble rows 0-7 of 16, high 8-15.
constexpr std::int64_t w4_zero_offset(const W4Layout& l, std::int64_t row, std::int64_t input) {
  const std::int64_t group = l.group_size >= 128 ? 0 : (input & 127) / l.group_size;
  return w4_slab_offset(l, row, input) + 1024 + l.step_groups() * 32 + group * 8 + (row & 7);
}

}  // namespace awq::kernels::cuda
