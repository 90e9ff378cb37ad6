#include "device/cuda/cublas_lt.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <string>

#include "base/check.h"

namespace awq::device {
namespace {

// Files that the library may be, the one of the runtime's own version first.
constexpr std::array kFolders = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/lib/",
                                 "/usr/local/cuda/targets/x86_64-linux/lib/", "/usr/lib/x86_64-linux-gnu/"};
constexpr std::array kNames = {"libcublasLt.so.13", "libcublasLt.so.12"};

void* open_library() {
  if (const char* given = std::getenv("AWQ_CUBLASLT")) {
    if (void* library = dlopen(given, RTLD_NOW | RTLD_LOCAL)) return library;
    fail(ErrorCode::kDevice, "AWQ_CUBLASLT={}: cannot be opened: {}", given, dlerror());
  }
  for (const char* name : kNames) {
    for (const char* folder : kFolders) {
      if (void* library = dlopen((std::string(folder) + name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    }
  }
  fail(ErrorCode::kDevice,
       "matrix products on a device need {} or {} of NVIDIA's CUDA toolkit: not found; AWQ_CUBLASLT names the file",
       kNames[0], kNames[1]);
}

template <typename Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) fail(ErrorCode::kDevice, "libcublasLt has no function {}", name);
}

}  // namespace

const CublasLt& cublas_lt() {
  static const CublasLt kLibrary = [] {
    CublasLt out;
    void* handle = open_library();
    find(handle, "cublasLtCreate", out.create);
    find(handle, "cublasLtDestroy", out.destroy);
    find(handle, "cublasLtMatmul", out.matmul);
    find(handle, "cublasLtMatmulDescCreate", out.desc_create);
    find(handle, "cublasLtMatmulDescDestroy", out.desc_destroy);
    find(handle, "cublasLtMatmulDescSetAttribute", out.desc_set);
    find(handle, "cublasLtMatrixLayoutCreate", out.layout_create);
    find(handle, "cublasLtMatrixLayoutDestroy", out.layout_destroy);
    find(handle, "cublasLtMatmulPreferenceCreate", out.preference_create);
    find(handle, "cublasLtMatmulPreferenceDestroy", out.preference_destroy);
    find(handle, "cublasLtMatmulPreferenceSetAttribute", out.preference_set);
    find(handle, "cublasLtMatmulAlgoGetHeuristic", out.heuristic);
    return out;
  }();
  return kLibrary;
}

void check_blas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail(ErrorCode::kDevice, "{} failed with status {}", what, static_cast<int>(status));
  }
}

}  // namespace awq::device
