#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantize/calibration_data.h"
#include "quantize/output_plan.h"

namespace awq::quantize {

/// What 8 bits for the linears of one site would cost and what they would save.
struct WideCandidate {
  std::int64_t layer = 0;
  model::Site site = model::Site::kAttentionInput;
  std::uint64_t extra_bytes = 0;  ///< of the file
  double loss = 0;                ///< of plain rounding to the narrow width; in units that all candidates share
};

/// Every site with linears to quantize, in model order, without losses. `narrow` is a plan without wide sites.
std::vector<WideCandidate> wide_candidates(const model::ModelFiles& files, const OutputPlan& narrow);

/// Fills the losses: runs a sample of the calibration blocks through the original model, and through each layer with
/// the linears of one site rounded. The loss of a site is the mean over tokens of |change|^2 / |h|^2 of the hidden
/// state h behind the layer. Memory holds one layer three times and the hidden states of the sample.
void measure_losses(const model::ModelFiles& files, const OutputPlan& narrow, const CalibrationBlocks& blocks,
                    ops::Precision precision, std::vector<WideCandidate>& candidates);

/// The sites with the largest loss for each byte that fit into `budget` bytes; ties go to the first.
WideSites choose_wide(const std::vector<WideCandidate>& candidates, std::uint64_t budget);

/// Bytes that options.target_bpw leaves for wide sites. Throws kInvalidArgument when the model is larger without any.
std::uint64_t wide_budget(const model::ModelFiles& files, const OutputPlan& narrow, double target_bpw);

/// The sites of the given linears. Throws kCorruptFile for a name that `narrow` does not have.
WideSites sites_of(const OutputPlan& narrow, const std::vector<std::string>& modules);

/// A plan of about the size that the chosen one will have: sites in model order while they fit. What a dry run shows.
OutputPlan provisional_plan(const model::ModelFiles& files, const QuantizeOptions& options);

}  // namespace awq::quantize
