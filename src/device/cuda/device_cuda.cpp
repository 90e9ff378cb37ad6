#include <cuda_runtime.h>

#include "base/check.h"
#include "device/device.h"
#include "kernels/api/cuda_linear.h"

namespace awq::device {
namespace {

// What the kernels are built for at least: the first whose tensor cores multiply with sums in binary32.
constexpr int kLeastMajor = 7, kLeastMinor = 5;

/// Why there is no device to use, or null.
const char* no_device_reason(cudaError_t status) {
  switch (status) {
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorSystemDriverMismatch:
      return "no NVIDIA driver, or one that is older than this build needs";
    case cudaErrorNoDevice:
      return "the NVIDIA driver shows no device";
    default:
      return nullptr;
  }
}

}  // namespace

bool is_sticky(int status) {
  switch (static_cast<cudaError_t>(status)) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorUnknown:
    case cudaErrorDevicesUnavailable:
      return true;
    default:
      return false;
  }
}

void check(int status, const char* what) {
  if (status == cudaSuccess) return;
  const auto error = static_cast<cudaError_t>(status);
  cudaGetLastError();  // a later call is not to report this one again, where it can be forgotten
  if (error == cudaErrorMemoryAllocation) {
    fail(ErrorCode::kOutOfMemory, "device memory: {} failed: {}", what, cudaGetErrorString(error));
  }
  fail(ErrorCode::kDevice, "device: {} failed: {} ({}){}", what, cudaGetErrorString(error), cudaGetErrorName(error),
       is_sticky(status) ? "; the device cannot be used by this process any more" : "");
}

int count() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return devices;
}

Properties open(int index) {
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (const char* reason = no_device_reason(found)) {
    cudaGetLastError();
    fail(ErrorCode::kDevice, "--device cuda:{}: {}", index, reason);
  }
  check(found, "cudaGetDeviceCount");
  if (devices == 0) fail(ErrorCode::kDevice, "--device cuda:{}: the NVIDIA driver shows no device", index);
  if (index < 0 || index >= devices) {
    fail(ErrorCode::kDevice, "--device cuda:{}: there are {} devices, expected 0 to {}", index, devices, devices - 1);
  }
  cudaDeviceProp found_properties{};
  check(cudaGetDeviceProperties(&found_properties, index), "cudaGetDeviceProperties");
  Properties out;
  out.index = index;
  out.name = found_properties.name;
  out.major = found_properties.major;
  out.minor = found_properties.minor;
  out.multiprocessors = found_properties.multiProcessorCount;
  out.memory_bytes = found_properties.totalGlobalMem;
  out.l2_bytes = static_cast<std::uint64_t>(found_properties.l2CacheSize);
  if (out.major < kLeastMajor || (out.major == kLeastMajor && out.minor < kLeastMinor)) {
    fail(ErrorCode::kDevice, "--device cuda:{}: {} has compute capability {}.{}, at least {}.{} is needed", index,
         out.name, out.major, out.minor, kLeastMajor, kLeastMinor);
  }
  if (kernels::cuda::built_capability(out.major * 10 + out.minor) == 0) {
    fail(ErrorCode::kDevice, "--device cuda:{}: {} has compute capability {}.{}, for which this build has no code",
         index, out.name, out.major, out.minor);
  }
  check(cudaSetDevice(index), "cudaSetDevice");
  check(cudaFree(nullptr), "the start of the device");
  check(cudaDriverGetVersion(&out.driver_version), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&out.runtime_version), "cudaRuntimeGetVersion");
  return out;
}

MemoryInfo memory() {
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {.free_bytes = free, .total_bytes = total};
}

void synchronize() { check(cudaDeviceSynchronize(), "the wait for the device"); }

}  // namespace awq::device
