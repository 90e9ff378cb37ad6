#pragma once

#include <cstdint>
#include <string>

#include "kernels/api/cuda_types.h"

/// NVIDIA devices behind types that no header of CUDA is needed for. A build without CUDA has the same layer; there
/// every function that would touch a device throws kDevice. A process uses one device.
namespace awq::device {

struct Properties {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t l2_bytes = 0;
  int driver_version = 0, runtime_version = 0;  ///< 1000 * major + 10 * minor
};

/// Number of the device that `name` ("cuda", "cuda:3") means; -1 for "cpu". "auto" is the first device where there is
/// one, else "cpu". Throws kInvalidArgument for another name.
int parse_name(const std::string& name);
/// Makes device `index` the one of this process and says what it is. Throws kDevice: no CUDA in this build, no driver,
/// no device, none of that number, or one that this build has no kernels for.
Properties open(int index);
/// Devices that the driver shows; 0 when there is none, or no driver, or no CUDA in this build.
int count();

struct MemoryInfo {
  std::uint64_t free_bytes = 0, total_bytes = 0;
};
MemoryInfo memory();
/// Waits until the device has done everything.
void synchronize();

/// Turns the status of a CUDA call, a cudaError_t as a number, into an exception; `what` says what was called.
/// kOutOfMemory: memory is short, and whoever can do with less may go on. kDevice: the device or its context is lost
/// (a fault that every later call would report again), or the call was wrong.
void check(int status, const char* what);
/// True when `status` is an error that stays until the process ends.
bool is_sticky(int status);

}  // namespace awq::device
