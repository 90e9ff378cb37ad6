#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/linear.h"
#include "quant/quantized_tensor.h"
#include "quant/scheme.h"
#include "tensor/dtype.h"

namespace awq::quantize {

/// How codes are found once the ranges are known.
enum class CodeSearch {
  kRound,     ///< to the nearest
  kFeedback,  ///< GPTQ's error feedback
  kDescent,   ///< error feedback, then coordinate descent with re-fitted scales
};

/// How the linears of one site are quantized.
struct SiteSearchPlan {
  quant::Scheme scheme;
  DType scale_dtype = DType::kF16;
  bool search_ranges = true;
  CodeSearch codes = CodeSearch::kRound;
  ops::Precision precision = ops::Precision::kF32;
};

/// Weights of a linear, [rows, K].
struct SearchedLinear {
  AlignedBuffer<float> weights;
  std::int64_t rows = 0;
};

/// The linears of one site and what calibration knows about their inputs, wherever that lies, with the steps of the
/// search upon them. The Gram matrix H [K, K] of the inputs and all weights W are those of the moment: corrected and
/// scaled as the work goes on. A linear is named by its place in load(). Losses are output errors summed over the
/// calibration tokens.
class SiteSearch {
 public:
  SiteSearch() = default;
  SiteSearch(const SiteSearch&) = delete;
  SiteSearch& operator=(const SiteSearch&) = delete;
  virtual ~SiteSearch() = default;

  /// K, the channels of the site.
  virtual std::int64_t width() const = 0;
  /// Takes the linears, once and before all else, and rounds their weights as they are.
  virtual void load(std::vector<SearchedLinear> linears, const SiteSearchPlan& plan) = 0;
  /// Moves the weights to the corrected target where there are statistics for it, which are given up then.
  virtual void correct() = 0;

  /// trace(W H W^T)
  virtual double energy(std::size_t linear) = 0;
  /// Loss of the plain rounding that load() made.
  virtual double rounding_loss(std::size_t linear) = 0;

  /// Mean of |x| per channel [K].
  virtual std::vector<double> mean_abs() = 0;
  /// Mean over all rows of |w| relative to the largest |w| of its group, per channel [K].
  virtual std::vector<double> relative_magnitude() = 0;
  /// Loss of plain rounding after multiplying the columns by `channel_scale` [K], summed over the linears.
  virtual double scaled_rounding_loss(std::span<const float> channel_scale) = 0;
  /// W <- W diag(s), H <- diag(1/s) H diag(1/s).
  virtual void scale(std::span<const float> channel_scale) = 0;

  /// Ranges and codes of all linears as they are now: their results.
  virtual void search() = 0;
  virtual double result_loss(std::size_t linear) = 0;
  /// The plain rounding becomes the result, and where codes descend they do so from there.
  virtual void fall_back(std::size_t linear) = 0;
  /// Share of the groups that cannot hold one of their weights.
  virtual double clipped_share(std::size_t linear) = 0;
  /// Hands out the result; the linear is no longer there.
  virtual quant::QuantizedTensor take_result(std::size_t linear) = 0;
};

}  // namespace awq::quantize
