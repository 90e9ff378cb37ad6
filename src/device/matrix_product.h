#pragma once

#include <cstdint>
#include <memory>

#include "device/memory.h"

namespace awq::device {

/// c [m, n] = alpha op(a) op(b) + beta c, row-major, with sums and c in binary32; op() transposes when the flag is set:
/// a is then [k, m], b [n, k]. `ld` are elements from row to row.
struct MatrixShape {
  bool bf16 = false;  ///< a and b are bf16, else binary32 and multiplied as such
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t lda = 0, ldb = 0, ldc = 0;

  auto operator<=>(const MatrixShape&) const = default;
};

/// Products of matrices by NVIDIA's cublasLt (see DenseProduct). The algorithm of a shape is chosen once, at its first
/// use with pointers of an alignment, by the library's heuristic.
class MatrixProduct {
 public:
  /// Bytes of scratch that run() may use.
  static constexpr std::uint64_t kWorkspaceBytes = std::uint64_t{32} << 20;

  /// `workspace` holds kWorkspaceBytes and outlives this object. Throws kDevice when the library is not there.
  explicit MatrixProduct(void* workspace);
  ~MatrixProduct();
  MatrixProduct(const MatrixProduct&) = delete;
  MatrixProduct& operator=(const MatrixProduct&) = delete;

  /// Enqueues a product of device memory; nothing where m or n is 0.
  void run(const MatrixShape& shape, float alpha, const void* a, const void* b, float beta, float* c,
           const Stream& stream);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::device
