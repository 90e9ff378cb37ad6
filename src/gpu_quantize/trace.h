#pragma once

#include <functional>

#include "gpu_quantize/queue.h"
#include "kernels/api/cuda_search.h"

namespace awq::gpu_quantize {

/// quantize::QuadraticForm on the device: trace(D H D^T) for many D and one symmetric H [K, K].
class Trace {
 public:
  /// With `bf16` H is normalised by its diagonal and rounded to bf16.
  Trace(Queue& queue, const float* gram, std::int64_t width, bool bf16);

  /// Enqueues what writes rows [first, first + count) of D.
  using Fill = std::function<void(std::int64_t first, std::int64_t count, const kernels::cuda::search::Change& change)>;
  /// Sums in binary64, in an order fixed by rows and K.
  double of(std::int64_t rows, const Fill& fill);

 private:
  void multiply(std::int64_t rows);

  Queue& queue_;
  const float* gram_;
  std::int64_t width_;
  bool bf16_;
  Array<std::uint16_t> normalised_;  ///< [K, K], bf16 only
  Array<float> diagonal_;            ///< sqrt of the diagonal
  Array<std::byte> change_;
  Array<float> product_;
  Array<double> sums_;
};

}  // namespace awq::gpu_quantize
