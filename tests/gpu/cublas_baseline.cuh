#pragma once

#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <tuple>

#include "device_support.cuh"
#include "kernels/api/cuda_types.h"

/// y [m, n] = x [m, k] W [n, k]^T through cuBLASLt: what 16-bit weights cost. Loaded at run time.
namespace awq::gpu_test {

class CublasBaseline {
 public:
  explicit CublasBaseline(kernels::cuda::Half type)
      : type_(type == kernels::cuda::Half::kF16 ? CUDA_R_16F : CUDA_R_16BF) {
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
      if ((library_ = dlopen(name, RTLD_NOW)) != nullptr) break;
    }
    if (library_ == nullptr) return;
    load(create_, "cublasLtCreate");
    load(matmul_, "cublasLtMatmul");
    load(heuristic_, "cublasLtMatmulAlgoGetHeuristic");
    load(desc_create_, "cublasLtMatmulDescCreate");
    load(desc_set_, "cublasLtMatmulDescSetAttribute");
    load(layout_create_, "cublasLtMatrixLayoutCreate");
    load(pref_create_, "cublasLtMatmulPreferenceCreate");
    load(pref_set_, "cublasLtMatmulPreferenceSetAttribute");
    check(create_(&handle_), "cublasLtCreate");
  }
  bool available() const { return library_ != nullptr; }

  /// False when there is no algorithm.
  bool run(const void* weight, const void* x, void* y, int m, int n, int k, cudaStream_t stream) {
    Plan& plan = plans_[{m, n, k}];
    if (plan.desc == nullptr) {
      check(desc_create_(&plan.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), "desc");
      const cublasOperation_t transposed = CUBLAS_OP_T;
      check(desc_set_(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "transa");
      // Column-major: W^T is [k, n] with leading dimension k, x [k, m], y [n, m].
      check(layout_create_(&plan.w, type_, k, n, k), "layout");
      check(layout_create_(&plan.x, type_, k, m, k), "layout");
      check(layout_create_(&plan.y, type_, n, m, n), "layout");
      cublasLtMatmulPreference_t preference = nullptr;
      check(pref_create_(&preference), "preference");
      const std::size_t bytes = workspace_.count();
      check(pref_set_(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes), "preference");
      int found = 0;
      cublasLtMatmulHeuristicResult_t result{};
      heuristic_(handle_, plan.desc, plan.w, plan.x, plan.y, plan.y, preference, 1, &result, &found);
      plan.found = found > 0;
      plan.algorithm = result.algo;
    }
    if (!plan.found) return false;
    const float one = 1;
    const float zero = 0;
    check(matmul_(handle_, plan.desc, &one, weight, plan.w, x, plan.x, &zero, y, plan.y, y, plan.y, &plan.algorithm,
                  workspace_.get(), workspace_.count(), stream),
          "matmul");
    return true;
  }

 private:
  struct Plan {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    bool found = false;
  };
  template <class F>
  void load(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(library_, name));
    check(function == nullptr ? 1 : 0, name);
  }
  static void check(int status, const char* what) {
    if (status != 0) {
      std::fprintf(stderr, "cuBLASLt %s: status %d\n", what, status);
      std::exit(1);
    }
  }

  void* library_ = nullptr;
  cudaDataType_t type_;
  cublasLtHandle_t handle_ = nullptr;
  decltype(&cublasLtCreate) create_ = nullptr;
  decltype(&cublasLtMatmul) matmul_ = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic_ = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create_ = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set_ = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create_ = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) pref_create_ = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) pref_set_ = nullptr;
  std::map<std::tuple<int, int, int>, Plan> plans_;
  Buffer<std::uint8_t> workspace_{std::size_t{64} << 20};
};

}  // namespace awq::gpu_test
