#pragma once

// CUDA's header for kernels that run on the processor: blocks one after the other (those of a cooperative launch, and
// of any that may overlap with others, in turns), the threads of a block as coroutines that take turns at barriers and
// shuffles. Enough of the language for the project's kernels, whose headers of instructions have twins here. What it
// finds are wrong indices and fragment layouts, copies and products that nobody waited for, missing barriers within a
// block's own use of shared memory that its order of threads shows, and wrong arithmetic; not races in general.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __CUDACC__ 1
#define __CUDA_ARCH_LIST__ 750, 800, 900
#define __CUDA_ARCH_FEAT_SM90_ALL 1  // only kernels that the other devices never start ask
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

struct CUstream_st;
using cudaStream_t = CUstream_st*;
using cudaError_t = int;
inline constexpr cudaError_t cudaSuccess = 0;
inline constexpr cudaError_t cudaErrorInvalidValue = 1;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

#define AWQ_EMULATED_VECTOR(type, base)                               \
  struct alignas(2 * sizeof(base)) type##2 {                          \
    base x, y;                                                        \
  };                                                                  \
  struct alignas(16) type##4 {                                        \
    base x, y, z, w;                                                  \
  };                                                                  \
  constexpr type##2 make_##type##2(base x, base y) { return {x, y}; } \
  constexpr type##4 make_##type##4(base x, base y, base z, base w) { return {x, y, z, w}; }
AWQ_EMULATED_VECTOR(float, float)
AWQ_EMULATED_VECTOR(uint, std::uint32_t)
AWQ_EMULATED_VECTOR(int, std::int32_t)
#undef AWQ_EMULATED_VECTOR

enum cudaLaunchAttributeID {
  cudaLaunchAttributeProgrammaticStreamSerialization,
  cudaLaunchAttributeClusterDimension,
  cudaLaunchAttributeCooperative
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed;
    int cooperative;
    struct {
      unsigned x, y, z;
    } clusterDim;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  cudaLaunchAttribute* attrs = nullptr;
  unsigned numAttrs = 0;
};

namespace cuda_emulation {

/// The device that is pretended: small, so that even little models are cut into several rounds and parts.
struct Device {
  int major = 8, minor = 0;
  std::size_t shared_bytes = 227 << 10;
  int multiprocessors = 4;

  bool has_async_copies() const { return major >= 8; }
  bool has_bulk_copies() const { return major >= 9; }
};
inline Device device;
/// The first device whose tensor cores the kernels use; to be called before anything runs.
inline void become_compute_75() { device = {7, 5, 64 << 10}; }
/// Hopper, with enough multiprocessors for a tile that eight blocks share.
inline void become_compute_90() { device = {9, 0, 227 << 10, 8}; }

struct Launch {
  dim3 grid;
  unsigned threads = 0;
  std::size_t shared_bytes = 0;
  bool cooperative = false;
  bool together = false;  ///< as many blocks as fit run at a time
  unsigned cluster = 1;
};
/// Runs `body` once per thread of every block.
void run_grid(const Launch& launch, const std::function<void()>& body);
/// Does `work` now, or puts it into the graph that is being recorded.
void enqueue(std::function<void()> work);
/// The dynamic shared memory of the block that runs.
std::uint8_t* shared_memory();
void wait_for_block();
void wait_for_warp();
/// Barrier of so many threads of the block; one that does not stay only counts.
void meet_at(int barrier, unsigned threads, bool stays);
/// Lets the other blocks that run at the same time run.
void wait_for_others();
/// Gives `value` to the other lanes and takes that of `lane`.
std::uint64_t exchange(std::uint64_t value, int lane);
/// Gives twelve words to the other lanes; those of lane l are then at [12 l] until the exchange after the next one.
inline constexpr int kLaneWords = 12;
const std::uint32_t* exchange_words(const std::uint32_t (&words)[kLaneWords]);
int own_lane();
/// True in every thread of the block when it is so for all of them.
bool all_of_block(bool value);
/// Copies that are done when their group is waited for.
void copy_later(void* to, const void* from, int bytes);
void end_copy_group();
void wait_for_copies(int pending);

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
inline int __syncthreads_and(int value) { return cuda_emulation::all_of_block(value != 0) ? 1 : 0; }
inline void __syncwarp() { cuda_emulation::wait_for_warp(); }
inline void __threadfence() {}
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return cuda_emulation::shuffle(value, lane);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return cuda_emulation::shuffle(value, cuda_emulation::own_lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T value, int delta) {
  const int from = cuda_emulation::own_lane() - delta;
  return cuda_emulation::shuffle(value, from < 0 ? cuda_emulation::own_lane() : from);
}
inline unsigned __ballot_sync(unsigned, bool value) {
  const std::uint32_t* of_lane = cuda_emulation::exchange_words({value ? 1U : 0U});
  unsigned out = 0;
  for (int lane = 0; lane < 32; ++lane) out |= of_lane[lane * cuda_emulation::kLaneWords] << lane;
  return out;
}
inline int min(int a, int b) { return a < b ? a : b; }
inline int __ffs(unsigned value) { return __builtin_ffs(static_cast<int>(value)); }
template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}
template <class T>
T __ldcg(const T* from) {
  return *from;
}
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __frcp_rn(float a) { return 1.0F / a; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return std::exp(a); }
inline float rsqrtf(float a) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(a))); }
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

enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMalloc(void** to, std::size_t bytes) {
  *to = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return *to == nullptr ? cudaErrorInvalidValue : cudaSuccess;
}
inline cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* to, int byte, std::size_t bytes) {
  std::memset(to, byte, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline const char* cudaGetErrorString(cudaError_t) { return "refused"; }

enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin
};
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  using namespace cuda_emulation;
  const int values[] = {device.major, device.minor, device.multiprocessors, static_cast<int>(device.shared_bytes)};
  *value = values[attribute];
  return cudaSuccess;
}
inline constexpr int cudaFuncAttributeMaxDynamicSharedMemorySize = 0;
inline constexpr int cudaFuncAttributePreferredSharedMemoryCarveout = 1;
inline constexpr int cudaSharedmemCarveoutMaxShared = 100;
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel, int attribute, int value) {
  const bool fits = attribute != 0 || value <= static_cast<int>(cuda_emulation::device.shared_bytes);
  return fits ? cudaSuccess : cudaErrorInvalidValue;
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  cuda_emulation::Launch launch = {config->gridDim, config->blockDim.x, config->dynamicSmemBytes};
  if (launch.shared_bytes > cuda_emulation::device.shared_bytes || launch.threads > 1024) return cudaErrorInvalidValue;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config->attrs[i];
    if (attribute.id == cudaLaunchAttributeCooperative) launch.cooperative = attribute.val.cooperative != 0;
    if (attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization) launch.together = true;
    if (attribute.id == cudaLaunchAttributeClusterDimension) launch.cluster = attribute.val.clusterDim.x;
  }
  if (launch.grid.x % launch.cluster != 0) return cudaErrorInvalidValue;
  cuda_emulation::enqueue([=] { cuda_emulation::run_grid(launch, [&] { kernel(arguments...); }); });
  return cudaSuccess;
}
