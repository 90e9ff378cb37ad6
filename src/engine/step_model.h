#pragma once

#include <cstdint>
#include <span>

#include "model/decoder.h"
#include "ops/draw.h"

namespace awq::engine {

/// Rows of logits that exist at a time: 80 rows of a vocabulary of 150,000 are 48 MB.
inline constexpr std::int64_t kLogitRows = 80;

/// What the engine needs of a model: one flat batch through it, then logits of chosen tokens.
class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual std::int64_t vocab_size() const = 0;
  virtual std::int64_t max_model_len() const = 0;  ///< tokens of one sequence
  virtual std::span<const std::int32_t> eos_token_ids() const = 0;
  virtual std::int64_t block_count() const = 0;
  virtual std::int64_t block_size() const = 0;  ///< tokens
  virtual std::uint64_t kv_bytes() const = 0;
  /// On the thread that will run the steps, before the first of them: allocates what that thread needs of its own.
  virtual void prepare() {}
  /// `ids` are the new tokens of all slices, one after the other.
  virtual void run(std::span<const std::int32_t> ids, std::span<const model::SequenceSlice> slices) = 0;
  /// Logits [tokens.size(), vocab_size] after the given tokens of the last run() (indices into its ids, rising,
  /// at most kLogitRows), which are among the results of their slices. The caller may overwrite them; they are valid
  /// until the next call.
  virtual std::span<float> logits(std::span<const std::int64_t> tokens) = 0;
  /// The likeliest next token after each of the given tokens (any number of them), the lowest id among equals, where
  /// the model can tell without its logits leaving a device; -1 where they are not finite. False: ask logits().
  virtual bool greedy(std::span<const std::int64_t> /*tokens*/, std::span<std::int32_t> /*ids*/) { return false; }
  /// The same with a rule for each token (kernels/api/draw.h): the ids that ops::Drawer draws from those logits.
  virtual bool draw(std::span<const std::int64_t> /*tokens*/, std::span<const ops::DrawRule> /*rules*/,
                    std::span<std::int32_t> /*ids*/) {
    return false;
  }
};

}  // namespace awq::engine
