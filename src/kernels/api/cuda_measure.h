#pragma once

#include <cstdint>

#include "kernels/api/cuda_linear.h"

/// What measurements on a device need besides the kernels that they measure: operands made in place, a copy, a
/// comparison. Pointers are device memory. Every function enqueues on `stream` and returns a cudaError_t as a number.
namespace awq::kernels::cuda {

/// Normal numbers of standard deviation `deviation`, rounded to `type`: functions of `seed` and their index.
int fill_normal(Half type, void* to, std::int64_t count, float deviation, std::uint32_t seed, Stream stream);

/// Writes a packed stream (layout.bytes(), aligned to 16) of random codes and zero points, with scales near 0.004.
/// Padding is random too: no kernel may let it show.
int fill_stream(const W4Layout& layout, void* to, std::uint32_t seed, Stream stream);

/// Copies `bytes`, a multiple of 16 as the pointers are, by loads and stores of all multiprocessors.
int copy_by_kernel(void* to, const void* from, std::int64_t bytes, Stream stream);

/// Adds to *different the number of 16-bit elements in which a and b differ, bit by bit.
int count_different(const void* a, const void* b, std::int64_t count, std::uint32_t* different, Stream stream);

}  // namespace awq::kernels::cuda
