#pragma once

#include <cstdint>

#include "quant/quantized_tensor.h"

namespace awq::quantize {

struct DescentOptions {
  int passes = 4;     ///< over all columns, at most; a row chunk stops early when hardly a code changes
  bool refit = true;  ///< re-fit scales and zero points to the codes in every pass but the last
};

/// Lowers trace(D H D^T), D = dequantize(tensor) - W, by changing one code at a time to its best value given all others
/// (exact coordinate descent), and the scale and zero point of one group at a time to the least-squares fit given the
/// codes (rounded to the stored type, zero points whole). No step makes the loss of any row worse. W [N, K]; H [K, K].
void descend(const float* weights, const float* gram, const DescentOptions& options, quant::QuantizedTensor& tensor);

/// The loss of every row n, (D H D^T)_nn, in `out` [N].
void row_losses(const float* weights, const float* gram, const quant::QuantizedTensor& tensor, double* out);

}  // namespace awq::quantize
