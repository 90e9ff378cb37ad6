#include <cuda_runtime.h>

#include <array>
#include <mutex>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_kernels.h"

namespace awq::kernels::cuda {
namespace {

/// What the choice of a kernel depends on, read once per device.
DeviceLimits read_limits(int device) {
  DeviceLimits limits;
  int major = 0;
  int minor = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount, device);
  cudaDeviceGetAttribute(&limits.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  limits.capability = code_capability(major * 10 + minor);
  return limits;
}

}  // namespace

DeviceLimits current_limits() {
  static std::mutex mutex;
  static std::array<DeviceLimits, 64> known{};
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device < 0 || device >= 64) return {};
  const std::lock_guard lock(mutex);
  if (known[static_cast<std::size_t>(device)].capability == 0) {
    known[static_cast<std::size_t>(device)] = read_limits(device);
  }
  return known[static_cast<std::size_t>(device)];
}

std::uint64_t w4_workspace_bytes(const W4Layout& layout, std::int64_t m) {
  std::uint64_t most = 0;
  const DeviceLimits limits = current_limits();
  for (const W4Kernel* kernel = w4_kernels(); kernel->name != nullptr; ++kernel) {
    const std::uint64_t bytes = kernel->workspace(layout, m, limits);
    if (bytes > most) most = bytes;
  }
  return most;
}

const char* const* w4_kernel_names() {
  static const auto names = [] {
    std::array<const char*, 64> list{};
    std::size_t i = 0;
    for (const W4Kernel* kernel = w4_kernels(); kernel->name != nullptr; ++kernel) list[i++] = kernel->name;
    return list;
  }();
  return names.data();
}

const char* w4_kernel_objection(const W4Problem& problem, int index) {
  return w4_kernels()[index].objection(problem, current_limits());
}

int built_capability(int capability) { return code_capability(capability); }

const char* type_objection(Half type) { return tensor_core_objection({.type = type}, current_limits()); }

int w4_choice(const W4Problem& problem) { return w4_choose(problem, current_limits()); }

bool w4_panel_pays(const W4Layout& layout, std::int64_t m) {
  return panel_pays(layout, m, current_limits().capability);
}

int w4_linear(const W4Problem& problem, Stream stream, int kernel) {
  if (problem.m <= 0) return cudaSuccess;
  const DeviceLimits limits = current_limits();
  if (kernel < 0) kernel = w4_choose(problem, limits);
  const W4Kernel& row = w4_kernels()[kernel];
  if (row.objection(problem, limits) != nullptr) return cudaErrorInvalidValue;
  return row.run(problem, limits, stream);
}

}  // namespace awq::kernels::cuda
