#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "quant/scheme.h"
#include "tensor/dtype.h"

namespace awq::quant {

/// The canonical form of a quantized linear weight [N = out_features, K = in_features]: what every stored format
/// decodes to and every kernel packs from. G = K / group_size groups per row.
///
///   weight(n, k) = scales[n][g] * (codes[n][k] - zero_points[n][g]),   g = k / group_size, or group_index[k]
///
/// and with scheme.kind == kE4M3: scales[n][g] * float8(codes[n][k]).
struct QuantizedTensor {
  std::uint64_t out_features = 0;  ///< N
  std::uint64_t in_features = 0;   ///< K
  Scheme scheme;
  DType scale_dtype = DType::kF16;    ///< how the file stores the scales (their values here are exact)
  AlignedBuffer<std::uint8_t> codes;  ///< [N, K], one code per byte, 0 .. 2^bits - 1
  AlignedBuffer<float> scales;        ///< [N, G]
  AlignedBuffer<std::uint8_t>
      zero_points;                        ///< [N, G], 0 .. 2^bits (GPTQ's stored zero + 1 may reach 2^bits); 0 for E4M3
  std::vector<std::int32_t> group_index;  ///< [K] group of each input, or empty for k / group_size

  std::uint64_t groups() const { return in_features / resolved_group_size(scheme, in_features); }
};

/// The definition of dequantization: fills out[N, K].
void dequantize(const QuantizedTensor& tensor, float* out);
/// Rows [row_begin, row_end) only; out holds (row_end - row_begin) * K floats.
void dequantize_rows(const QuantizedTensor& tensor, std::uint64_t row_begin, std::uint64_t row_end, float* out);

}  // namespace awq::quant
