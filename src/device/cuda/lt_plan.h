#pragma once

#include <cstdint>
#include <string>

#include "device/cuda/cublas_lt.h"
#include "device/stream.h"

namespace awq::device {

/// A matrix as cublasLt sees it: columns first, `ld` elements from one column to the next.
struct LtMatrix {
  cudaDataType_t type = CUDA_R_32F;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t ld = 0;
  std::uint32_t alignment = 256;  ///< of its address, a power of two: algorithms that need more are left out
};

/// c = alpha op(a) op(b) + beta c (+ bias), sums in binary32; op() transposes where the flag is set.
struct LtProduct {
  LtMatrix a, b, c;
  bool transpose_a = false, transpose_b = false;
  bool has_bias = false;  ///< one number per row of c, of its type
  std::string shape;      ///< for messages
};

/// A product with its descriptors and the algorithm that the library's heuristic prefers for it.
class LtPlan {
 public:
  /// Throws kDevice when the library has no algorithm within `workspace_bytes` of scratch.
  LtPlan(cublasLtHandle_t handle, const LtProduct& product, std::uint64_t workspace_bytes);
  ~LtPlan();
  LtPlan(const LtPlan&) = delete;
  LtPlan& operator=(const LtPlan&) = delete;

  struct Operands {
    const void* a = nullptr;
    const void* b = nullptr;
    void* c = nullptr;
    const void* bias = nullptr;  ///< null without
    float alpha = 1, beta = 0;
  };
  /// Enqueues; `workspace` holds the bytes that the plan was made with.
  void run(const Operands& operands, void* workspace, const Stream& stream);

 private:
  void choose(const LtProduct& product);
  void destroy();

  cublasLtHandle_t handle_;
  std::uint64_t workspace_bytes_;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
};

}  // namespace awq::device
