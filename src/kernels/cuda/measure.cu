#include "kernels/api/cuda_measure.h"

#include "kernels/cuda/token_device.cuh"
#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kBlocks = 2048;  ///< of kernels that stride over their data
constexpr unsigned kCopyThreads = 512;
constexpr int kCopyVectors = 4;  ///< in flight per thread

/// A hash of 32 bits in which every bit of the input reaches every bit of the result (Wellons' lowbias32 constants).
__device__ __forceinline__ std::uint32_t mix(std::uint32_t v) {
  v ^= v >> 16;
  v *= 0x7feb352dU;
  v ^= v >> 15;
  v *= 0x846ca68bU;
  return v ^ (v >> 16);
}
__device__ __forceinline__ std::uint32_t random_word(std::int64_t index, std::uint32_t seed) {
  return mix(static_cast<std::uint32_t>(index) * 2654435761U + static_cast<std::uint32_t>(index >> 32) + seed);
}
__device__ __forceinline__ std::int64_t first_index() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t stride() { return static_cast<std::int64_t>(gridDim.x) * blockDim.x; }

template <Half kType>
__global__ void __launch_bounds__(kThreads)
    fill_normal_kernel(std::uint16_t* to, std::int64_t count, float deviation, std::uint32_t seed) {
  ptx::wait_for_earlier_kernel();
  for (std::int64_t i = first_index(); i < count; i += stride()) {
    // Box and Muller: the radius from a uniform number of (0, 1), the angle from another one, in units of pi.
    const std::uint32_t a = random_word(i, seed);
    const std::uint32_t b = mix(a + 77);
    const float u = (static_cast<float>(a >> 8) + 1) / 16777217.0F;
    to[i] = ptx::to_half<kType>(deviation * sqrtf(-2 * logf(u)) * cospif(static_cast<float>(b) * 0x1p-31F));
  }
}

__global__ void __launch_bounds__(kThreads) fill_words(std::uint32_t* to, std::int64_t words, std::uint32_t seed) {
  ptx::wait_for_earlier_kernel();
  for (std::int64_t i = first_index(); i < words; i += stride()) to[i] = random_word(i, seed);
}

/// The scales of every slab: `scales` of them after its codes.
__global__ void __launch_bounds__(kThreads)
    fill_scales(std::uint8_t* stream, std::int64_t slabs, int slab_bytes, int scales, std::uint32_t seed) {
  ptx::wait_for_earlier_kernel();
  for (std::int64_t i = first_index(); i < slabs * scales; i += stride()) {
    auto* record = reinterpret_cast<std::uint16_t*>(stream + i / scales * slab_bytes + 1024);
    record[i % scales] = ptx::to_half<Half::kF16>(0.002F + 4e-6F * static_cast<float>(random_word(i, seed) % 1000));
  }
}

/// Every block copies a part of its own, and nothing of it stays in the cache.
__global__ void __launch_bounds__(kCopyThreads) copy_kernel(uint4* to, const uint4* from, std::int64_t count) {
  ptx::wait_for_earlier_kernel();
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kCopyThreads * kCopyVectors + threadIdx.x;
  uint4 v[kCopyVectors];
#pragma unroll
  for (int j = 0; j < kCopyVectors; ++j) {
    if (at + j * kCopyThreads < count) v[j] = __ldcs(from + at + j * kCopyThreads);
  }
#pragma unroll
  for (int j = 0; j < kCopyVectors; ++j) {
    if (at + j * kCopyThreads < count) __stcs(to + at + j * kCopyThreads, v[j]);
  }
}

__global__ void __launch_bounds__(kThreads)
    different_kernel(const std::uint16_t* a, const std::uint16_t* b, std::int64_t count, std::uint32_t* different) {
  ptx::wait_for_earlier_kernel();
  std::uint32_t found = 0;
  for (std::int64_t i = first_index(); i < count; i += stride()) found += a[i] != b[i] ? 1U : 0U;
  for (int distance = 16; distance > 0; distance /= 2) found += __shfl_xor_sync(0xffffffffU, found, distance);
  if (threadIdx.x % 32 == 0 && found != 0) atomicAdd(different, found);
}

}  // namespace

int fill_normal(Half type, void* to, std::int64_t count, float deviation, std::uint32_t seed, Stream stream) {
  return for_half(type, [&]<Half kType>() {
    return launch(fill_normal_kernel<kType>, kBlocks, kThreads, 0, stream, 1, static_cast<std::uint16_t*>(to), count,
                  deviation, seed);
  });
}

int fill_stream(const W4Layout& layout, void* to, std::uint32_t seed, Stream stream) {
  if (!is_aligned(to, 16)) return static_cast<int>(cudaErrorInvalidValue);
  const int error =
      launch(fill_words, kBlocks, kThreads, 0, stream, 1, static_cast<std::uint32_t*>(to), layout.bytes() / 4, seed);
  if (error != 0) return error;
  return launch(fill_scales, kBlocks, kThreads, 0, stream, 1, static_cast<std::uint8_t*>(to),
                layout.bytes() / layout.slab_bytes(), static_cast<int>(layout.slab_bytes()),
                static_cast<int>(16 * layout.step_groups()), seed + 1);
}

int copy_by_kernel(void* to, const void* from, std::int64_t bytes, Stream stream) {
  if (bytes % 16 != 0 || !is_aligned(to, 16) || !is_aligned(from, 16)) return static_cast<int>(cudaErrorInvalidValue);
  constexpr std::int64_t kPart = kCopyThreads * kCopyVectors;
  const std::int64_t vectors = bytes / 16;
  return launch(copy_kernel, dim3(static_cast<unsigned>((vectors + kPart - 1) / kPart)), kCopyThreads, 0, stream, 1,
                static_cast<uint4*>(to), static_cast<const uint4*>(from), vectors);
}

int count_different(const void* a, const void* b, std::int64_t count, std::uint32_t* different, Stream stream) {
  return launch(different_kernel, kBlocks, kThreads, 0, stream, 1, static_cast<const std::uint16_t*>(a),
                static_cast<const std::uint16_t*>(b), count, different);
}

}  // namespace awq::kernels::cuda
