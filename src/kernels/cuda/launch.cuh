#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>

#include "kernels/api/cuda_types.h"

/// Launching on the current device; statuses are cudaError_t as numbers.
namespace awq::kernels::cuda {

/// Compute capability that the code which runs on a device of `capability` was compiled for: of this build's targets
/// the largest that is no later. A newer device translates it at load, and it stays what it was. 75 is 7.5.
constexpr int code_capability(int capability) {
  constexpr int kTargets[] = {__CUDA_ARCH_LIST__};  // 750 for compute_75
  int out = 0;
  for (const int target : kTargets) {
    if (target / 10 <= capability && target / 10 > out) out = target / 10;
  }
  return out;
}
/// That of the current device; 0 when there is none.
inline int code_capability() {
  int device = 0;
  int major = 0;
  int minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) return 0;
  return code_capability(major * 10 + minor);
}

/// True when kernels may start before their predecessor ends: allowed, and code and device know how to wait for it.
inline bool launches_overlap() { return overlap_allowed() && code_capability() >= 90; }

/// How a launch differs from a plain one.
struct LaunchTraits {
  unsigned cluster = 1;   ///< blocks along x that share their memory
  bool together = false;  ///< all blocks run at the same time: they wait for each other
};

/// Enqueues `kernel`.
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, std::size_t shared_bytes, Stream stream,
           LaunchTraits traits, const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (launches_overlap()) {
    // Blocks that wait for each other need no more than this either: kernels before them end without them, and those
    // behind them begin when the last of them has begun.
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  } else if (traits.together) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  if (traits.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {traits.cluster, 1, 1};
  }
  config.attrs = attributes;
  config.numAttrs = count;
  return static_cast<int>(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}
/// `cluster` blocks along x share their memory (1: no cluster).
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, std::size_t shared_bytes, Stream stream,
           unsigned cluster, const Arguments&... arguments) {
  return launch(kernel, grid, threads, shared_bytes, stream, LaunchTraits{.cluster = cluster}, arguments...);
}

enum class Carveout : std::uint8_t {
  kMost,    ///< as much shared memory as there is, so that several blocks find room on a multiprocessor
  kDriver,  ///< what the driver thinks best
};
/// Lets a kernel have `bytes` of shared memory on the current device; asks the driver once per device.
template <auto kKernel>
int allow_shared_bytes(int bytes, Carveout carveout = Carveout::kMost) {
  static std::atomic<std::uint64_t> devices = 0;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return static_cast<int>(error);
  const std::uint64_t bit = device < 64 ? std::uint64_t{1} << device : 0;
  if ((devices.load() & bit) != 0) return 0;
  cudaError_t error = cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  if (error == cudaSuccess && carveout == Carveout::kMost) {
    error =
        cudaFuncSetAttribute(kKernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  }
  if (error == cudaSuccess) devices.fetch_or(bit);
  return static_cast<int>(error);
}

}  // namespace awq::kernels::cuda
