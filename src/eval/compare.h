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
  /// done and total in layers of work, or in windows with resident models.
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;
};

/// Scores `windows` under `model`, and where `base` is not null under both, holding one decoder layer at a time.
Scores compare(const model::WeightSource& model, const model::WeightSource* base, const Windows& windows,
               const CompareOptions& options);

/// A whole model that is resident somewhere and runs one window at a time.
class ResidentModel {
 public:
  virtual ~ResidentModel() = default;
  virtual const model::ModelConfig& config() const = 0;
  virtual void run(std::span<const std::int32_t> ids) = 0;
  virtual std::int64_t most_rows() const = 0;  ///< of logits at a time
  /// Logits [count, vocab_size] after tokens [begin, begin + count) of the last run(); valid until the next call.
  virtual const float* logits(std::int64_t begin, std::int64_t count) = 0;
};

/// The same for models that are resident; `base` may be null.
Scores compare_resident(ResidentModel& model, ResidentModel* base, const Windows& windows,
                        const CompareOptions& options);

/// The same for several models against one base, which runs only once. One entry per model.
std::vector<Scores> compare_all(std::span<const model::WeightSource* const> models, const model::WeightSource* base,
                                const Windows& windows, const CompareOptions& options);

}  // namespace awq::eval
