#pragma once

#include <cstdint>

struct CUstream_st;  // cudaStream_t is a pointer to it; nothing else of CUDA shows in these headers

namespace awq::kernels::cuda {

using Stream = CUstream_st*;

/// Type of activations, and of 16-bit weights, on a device.
enum class Half : std::uint8_t { kF16, kBf16 };

}  // namespace awq::kernels::cuda
