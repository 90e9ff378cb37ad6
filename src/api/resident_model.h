#pragma once

#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "base/check.h"
#include "eval/compare.h"
#include "gpu/load.h"

namespace awq::api {

/// A model on a device, for eval: one window is one sequence of its own.
class DeviceModel : public eval::ResidentModel {
 public:
  /// For windows of up to `length` tokens.
  DeviceModel(const model::WeightSource& source, const gpu::ModelOptions& options, std::int64_t length)
      : model_(gpu::load_step_model(source, options,
                                    {.max_model_len = length,
                                     .max_num_seqs = 1,
                                     .max_num_batched_tokens = length,
                                     .memory_utilization = 1,
                                     .fill_memory = false,
                                     .graphs = false})) {
    if (model_->max_model_len() < length) {
      fail(ErrorCode::kUnsupported, "--ctx {}: on a device the model has a context of {}", length,
           model_->max_model_len());
    }
    blocks_.resize(static_cast<std::size_t>(model_->block_count()));
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  const model::ModelConfig& config() const override { return model_->model().config(); }
  void run(std::span<const std::int32_t> ids) override {
    const model::SequenceSlice slice{.token_count = static_cast<std::int64_t>(ids.size()), .blocks = blocks_};
    model_->run(ids, {&slice, 1});
  }
  std::int64_t most_rows() const override { return engine::kLogitRows; }
  const float* logits(std::int64_t begin, std::int64_t count) override {
    rows_.resize(static_cast<std::size_t>(count));
    std::iota(rows_.begin(), rows_.end(), begin);
    return model_->logits(rows_).data();
  }

 private:
  std::unique_ptr<gpu::StepModel> model_;
  std::vector<std::int32_t> blocks_;
  std::vector<std::int64_t> rows_;
};

}  // namespace awq::api
