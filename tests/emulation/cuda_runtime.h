#pragma once

// CUDA's header for kernels that run on the processor: blocks one after the other, the threads of a block as coroutines
// that take turns at barriers and shuffles. Enough of the language for the quantizer's kernels, which are written in
// its plain part. What it finds are wrong indices, missing barriers within a block's own use of shared memory that its
// order of threads shows, and wrong arithmetic; not races in general.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __CUDACC__ 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct CUstream_st;
using cudaStream_t = CUstream_st*;
using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
inline constexpr cudaError_t cudaErrorInvalidValue = 1;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  void* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace cuda_emulation {

/// Runs `body` once per thread of every block.
void run_grid(dim3 grid, unsigned threads, const std::function<void()>& body);
void wait_for_block();
void wait_for_warp();
/// Gives `value` to the other lanes and takes that of `lane`.
std::uint64_t exchange(std::uint64_t value, int lane);
int own_lane();

template <class T>
T shuffle(T value, int lane) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = exchange(bits, lane);
  T out;
  std::memcpy(&out, &bits, sizeof(T));
  return out;
}

}  // namespace cuda_emulation

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { cuda_emulation::wait_for_block(); }
inline void __syncwarp() { cuda_emulation::wait_for_warp(); }
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return cuda_emulation::shuffle(value, lane);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return cuda_emulation::shuffle(value, cuda_emulation::own_lane() ^ mask);
}
inline int atomicAdd(int* to, int value) {
  const int before = *to;
  *to += value;
  return before;
}
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline std::uint32_t __float_as_uint(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
inline float __uint_as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  cuda_emulation::run_grid(config->gridDim, config->blockDim.x, [&] { kernel(arguments...); });
  return cudaSuccess;
}
