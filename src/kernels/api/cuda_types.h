#pragma once

#include <cstdint>

struct CUstream_st;  // cudaStream_t is a pointer to it; nothing else of CUDA shows in these headers

namespace awq::kernels::cuda {

using Stream = CUstream_st*;

/// Type of activations, and of 16-bit weights, on a device.
enum class Half : std::uint8_t { kF16, kBf16 };

/// Whether kernels may start while the one before them in the stream ends (programmatic dependent launch, compute
/// capability 9.0 and later); results do not depend on it. Of this process, on until turned off; not to be called while
/// another thread launches.
void allow_overlap(bool on);
bool overlap_allowed();

}  // namespace awq::kernels::cuda
