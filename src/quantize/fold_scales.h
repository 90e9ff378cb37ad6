#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quant/quantized_tensor.h"
#include "tensor/dtype.h"

namespace awq::quantize {

/// Divides a norm's weight by `channel_scale` and rounds it to `dtype` as it will be stored. Returns the scales that
/// the rounded weight really stands for, old / new: with these on the consumers the fold is exact in spite of the
/// rounding. A channel whose weight is zero, or would leave the range of `dtype`, keeps weight and scale 1.
std::vector<float> fold_into_norm(std::span<float> norm, std::span<const float> channel_scale, DType dtype);

/// Divides rows of W [rows.size = channel_scale.size, width] and the bias by the scale of their row.
void fold_into_rows(float* weights, std::int64_t width, std::span<float> bias, std::span<const float> channel_scale);

/// The same for a tensor that is quantized already: the scales of its rows are divided, and rounded to their stored
/// type (2^-12 of each on average, far below what its codes are wrong by).
void fold_into_rows(quant::QuantizedTensor& tensor, std::span<float> bias, std::span<const float> channel_scale);

/// Multiplies the columns of W [rows, channel_scale.size()].
void scale_columns(float* weights, std::int64_t rows, std::span<const float> channel_scale);

/// H / (s s^T) in place: the Gram matrix of inputs divided by s.
void scale_gram(float* gram, std::span<const float> channel_scale);

}  // namespace awq::quantize
