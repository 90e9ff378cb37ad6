#pragma once

#include <memory>

#include "engine/engine.h"
#include "engine/step_model.h"
#include "model/kv_pool.h"
#include "model/language_model.h"

namespace awq::engine {

/// Tokens one sequence may have with a cache: the context, or less where frequencies change with the length (dynamic
/// NTK).
std::int64_t cached_context(const model::ModelConfig& config);

/// Blocks for `options`: what kv_cache_memory_bytes hold, or else enough for max_num_seqs full sequences within half of
/// the memory that is free. Throws kOutOfMemory when one sequence of max_model_len does not fit or, where that is left
/// to what fits, not one block.
std::int64_t plan_kv_blocks(const model::ModelConfig& config, const EngineOptions& options);

/// A language model and its pool of keys and values.
class LanguageStepModel : public StepModel {
 public:
  /// `model` has to live as long.
  LanguageStepModel(model::LanguageModel& model, const EngineOptions& options);
  LanguageStepModel(std::unique_ptr<model::LanguageModel> model, const EngineOptions& options)
      : LanguageStepModel(*model, options) {
    owned_ = std::move(model);
  }

  std::int64_t vocab_size() const override { return model_.config().vocab_size; }
  std::int64_t max_model_len() const override { return cached_context(model_.config()); }
  std::span<const std::int32_t> eos_token_ids() const override { return model_.config().eos_token_ids; }
  std::int64_t block_count() const override { return pool_.block_count(); }
  std::int64_t block_size() const override { return kernels::kKvBlockTokens; }
  std::uint64_t kv_bytes() const override { return pool_.bytes(); }
  void prepare() override { model_.reserve_products(step_tokens_, kLogitRows); }
  void run(std::span<const std::int32_t> ids, std::span<const model::SequenceSlice> slices) override {
    model_.run(ids, slices, &pool_);
  }
  std::span<float> logits(std::span<const std::int64_t> tokens) override { return model_.logits(tokens); }

 private:
  std::unique_ptr<model::LanguageModel> owned_;
  model::LanguageModel& model_;
  model::KvPool pool_;
  std::int64_t step_tokens_;
};

}  // namespace awq::engine
