#pragma once

#include <cstdint>
#include <memory>

#include "device/memory.h"

namespace awq::device {

/// y = x W^T (+ bias): x [m, k] and W [n, k] half and row-major, sums in binary32, y [m, n] half or binary32.
struct DenseShape {
  kernels::cuda::Half type = kernels::cuda::Half::kBf16;
  std::int64_t m = 0, n = 0, k = 0;
  bool float_output = false;
  bool has_bias = false;  ///< [n] of the type of y

  bool operator==(const DenseShape&) const = default;
};

/// Products of 16-bit matrices by NVIDIA's cublasLt, which is opened when the first object is made: its file is looked
/// for by AWQ_CUBLASLT, then by name, then in the usual folders. The algorithm of a shape is chosen once, at its first
/// use, by the library's heuristic. A row of y may depend on m.
class DenseProduct {
 public:
  /// Bytes of scratch that run() may use.
  static constexpr std::uint64_t kWorkspaceBytes = std::uint64_t{32} << 20;

  /// `workspace` holds kWorkspaceBytes and outlives this object. Throws kDevice when the library is not there.
  explicit DenseProduct(void* workspace);
  ~DenseProduct();
  DenseProduct(const DenseProduct&) = delete;
  DenseProduct& operator=(const DenseProduct&) = delete;

  /// Enqueues a product. The first call of a shape chooses; do that before a graph is captured.
  void run(const DenseShape& shape, const void* x, const void* weight, const void* bias, void* y, const Stream& stream);
  std::size_t shapes() const;  ///< chosen so far

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::device
