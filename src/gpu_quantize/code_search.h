#pragma once

#include <optional>
#include <span>

#include "gpu_quantize/reverse_factor.h"
#include "kernels/api/cuda_search.h"

namespace awq::gpu_quantize {

/// quantize::search_ranges() on the device: fills codes, scales and zero points. W [N, K], H [K, K].
void search_ranges(Queue& queue, const float* weights, const float* gram, const kernels::cuda::search::Codes& codes);

/// quantize::ErrorFeedback on the device.
class Feedback {
 public:
  /// `diagonal` is that of H [K, K], on the host. With `zero_dead` channels without inputs get weight 0.
  Feedback(Queue& queue, const float* gram, std::span<const float> diagonal, bool zero_dead);
  /// Fills the codes, whose scales and zero points are set.
  void encode(const float* weights, const kernels::cuda::search::Codes& codes) const;

 private:
  Queue& queue_;
  std::vector<std::int32_t> order_;
  Array<std::int32_t> order_there_;
  Array<std::uint8_t> zeroed_;
  std::optional<ReverseFactor> factor_;
};

/// quantize::descend() on the device.
void descend(Queue& queue, const float* weights, const float* gram, const kernels::cuda::search::Codes& codes);

/// Rows [first, first + count) of codes.
kernels::cuda::search::Codes rows_of(const kernels::cuda::search::Codes& codes, std::int64_t first, std::int64_t count);

}  // namespace awq::gpu_quantize
