#pragma once

#include <cstdint>
#include <vector>

#include "quant/quantized_tensor.h"
#include "quantize/reverse_cholesky.h"

namespace awq::quantize {

/// GPTQ's rounding: channels are rounded one after the other, and each takes into account what the errors of the ones
/// before it do to the output, so far as the channels to come can still make up for it. Shared by all linears of a
/// site. Source: GPTQ (Frantar et al. 2023) with act-order, static groups and damping; the factor R of ReverseCholesky
/// stands for its inverse Cholesky factor.
class ErrorFeedback {
 public:
  struct Options {
    bool activation_order = true;  ///< channels with the largest inputs first
    double damping = 0.01;         ///< part of the mean of the diagonal
    bool zero_dead = false;        ///< channels without inputs get weight 0, as GPTQ does, instead of the nearest code
  };
  /// H [K, K], not needed after the constructor.
  ErrorFeedback(const float* gram, std::int64_t width, const Options& options);

  /// Fills the codes of `tensor`, whose scales and zero points are set, for weights W [N, K].
  void encode(const float* weights, quant::QuantizedTensor& tensor) const;

 private:
  std::vector<std::int32_t> order_;
  std::vector<std::uint8_t> zeroed_;  ///< by position in the order
  ReverseCholesky factor_;
};

}  // namespace awq::quantize
