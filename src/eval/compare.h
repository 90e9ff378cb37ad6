#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "eval/windows.h"
#include "model/model_files.h"
#include "ops/linear.h"

namespace awq::eval {

struct Scores {
  std::int64_t tokens = 0;  ///< predicted tokens
  double nll = 0;           ///< mean over tokens, nats
  // With a base model only:
  double base_nll = 0;
  double kl_mean = 0;
  double kl_stderr = 0;  ///< over windows, as delta_nll_stderr
  double kl_p99 = 0;
  double top1_agreement = 0;
  double delta_nll_mean = 0;
  double delta_nll_stderr = 0;
};

struct CompareOptions {
  ops::Precision precision = ops::Precision::kF32;
  /// Bytes of hidden states that may be held; more windows than fit are scored in turns, reading the weights again.
  std::uint64_t hidden_bytes = 1ULL << 30;
  /// done and total in layers of work.
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;
};

/// Scores `windows` under `model`, and where `base` is not null under both, holding one decoder layer at a time.
Scores compare(const model::WeightSource& model, const model::WeightSource* base, const Windows& windows,
               const CompareOptions& options);

/// The same for several models against one base, which runs only once. One entry per model.
std::vector<Scores> compare_all(std::span<const model::WeightSource* const> models, const model::WeightSource* base,
                                const Windows& windows, const CompareOptions& options);

}  // namespace awq::eval
