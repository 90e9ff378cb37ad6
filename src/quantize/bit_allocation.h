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
  double loss = 0;                ///< of plain rounding to the narrow width, in nats per token
};

/// Every site with linears to quantize, in model order, without losses. `narrow` is a plan without wide sites.
std::vector<WideCandidate> wide_candidates(const model::ModelFiles& files, const OutputPlan& narrow);

/// Adds the losses: the KL divergence between the original model and the same with the linears of one site rounded, on
/// a sample of the calibration blocks. Goes through the model once, layer by layer, with the hidden states of all
/// candidates beside those of the original.
void measure_losses(const model::ModelFiles& files, const OutputPlan& narrow, const CalibrationBlocks& blocks,
                    ops::Precision precision, std::vector<WideCandidate>& candidates);

/// Memory for that beside one layer three times, and the number of tokens that go through a layer in it.
std::uint64_t measuring_bytes(const model::ModelFiles& files, std::size_t candidates);
double measuring_passes(const model::ModelFiles& files, std::size_t candidates);

/// The sites with the largest loss for each byte that fit into `budget` bytes; ties go to the first.
WideSites choose_wide(const std::vector<WideCandidate>& candidates, std::uint64_t budget);

/// Bytes that options.target_bpw leaves for wide sites. Throws kInvalidArgument when the model is larger without any.
std::uint64_t wide_budget(const model::ModelFiles& files, const OutputPlan& narrow, double target_bpw);

/// The sites of the given linears. Throws kCorruptFile for a name that `narrow` does not have.
WideSites sites_of(const OutputPlan& narrow, const std::vector<std::string>& modules);

/// A plan of about the size that the chosen one will have: sites in model order while they fit. What a dry run shows.
OutputPlan provisional_plan(const model::ModelFiles& files, const QuantizeOptions& options);

}  // namespace awq::quantize
