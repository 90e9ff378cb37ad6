#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace awq::generate {

struct SamplingOptions {
  double temperature = 0;  ///< 0: greedy
  std::int64_t top_k = 0;  ///< 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  std::uint64_t seed = 0;
};

/// Throws kInvalidArgument naming the option whose value is out of range.
void check_sampling(const SamplingOptions& options);

/// Picks tokens. Order of work: repetition penalty, temperature, top_k, top_p, min_p, draw: that of transformers.
/// A draw depends on the seed and the number of the token alone, so that the same request gives the same text.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  /// `history` holds prompt and output so far (for the penalty). Among equal logits the lowest id wins.
  std::int32_t pick(std::span<const float> logits, std::span<const std::int32_t> history);

 private:
  SamplingOptions options_;
  std::uint64_t drawn_ = 0;
  std::vector<float> work_;
};

}  // namespace awq::generate
