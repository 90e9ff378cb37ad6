#pragma once

#include <cstdint>
#include <functional>

#include "base/aligned_buffer.h"
#include "base/float16.h"
#include "ops/linear.h"

namespace awq::quantize {

/// trace(D H D^T) for many D and one symmetric H [K, K]: the output error, summed over the calibration tokens, of
/// weight changes D [N, K]. Half of H is enough: blocks off the diagonal count twice.
class QuadraticForm {
 public:
  /// With kBf16 (where the processor has it) H is normalised by its diagonal and rounded to bf16; the loss is then
  /// right to about 2e-4, enough to choose among scale exponents (docs/numerics.md).
  QuadraticForm(const float* gram, std::int64_t width, ops::Precision precision);

  /// Fills rows [begin, end) of D into out [(end - begin), K]. Called from the calling thread with disjoint ranges.
  using FillRows = std::function<void(std::int64_t begin, std::int64_t end, float* out)>;
  /// trace(D H D^T) of a D of `rows` rows. Sums in binary64, in an order fixed by rows and K.
  double trace(std::int64_t rows, const FillRows& fill);

  static std::uint64_t bytes(std::int64_t width, ops::Precision precision);

 private:
  double chunk_f32(std::int64_t rows);
  double chunk_bf16(std::int64_t rows);

  std::int64_t width_;
  bool bf16_;
  const float* gram_;
  AlignedBuffer<Bf16> normalised_;  ///< [K, K], kBf16 only
  AlignedBuffer<float> diagonal_;   ///< sqrt of the diagonal
  AlignedBuffer<float> change_, product_;
  AlignedBuffer<Bf16> rounded_;
};

}  // namespace awq::quantize
