#pragma once

#include <cstdint>

#include "quant/quantized_tensor.h"
#include "quant/scheme.h"

namespace awq::quantize {

struct RangeSearchResult {
  quant::QuantizedTensor tensor;  ///< scales, zero points and codes
  double clipped_groups = 0;      ///< share of groups whose best range is smaller than that of their weights
};

/// Chooses both ends of each group's range and quantizes. For weights W [N, K] (already multiplied by the channel
/// scales) and the Gram matrix H of the scaled inputs, a group's candidates are its own range with the upper and the
/// lower end shrunk independently to 1, 0.9 .. 0.5 and then in steps of 0.05 around the best; the loss is the output
/// error d H_gg d^T against the group's own block of H. The unshrunk range is a candidate and wins ties. Symmetric
/// schemes shrink both ends together.
RangeSearchResult search_ranges(const float* weights, std::int64_t rows, std::int64_t width, const float* gram,
                                const quant::Scheme& scheme, DType scale_dtype);

}  // namespace awq::quantize
