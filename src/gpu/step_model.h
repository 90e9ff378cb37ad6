#pragma once

#include <memory>
#include <vector>

#include "engine/step_model.h"
#include "gpu/batch.h"
#include "gpu/buckets.h"
#include "gpu/model.h"

namespace awq::gpu {

struct StepOptions {
  std::int64_t max_model_len = 0;  ///< 0: the model's context
  std::int64_t max_num_seqs = 1;
  std::int64_t max_num_batched_tokens = 2048;
  double memory_utilization = 0.9;       ///< share of the device's memory that may be in use in the end
  std::uint64_t cache_memory_bytes = 0;  ///< of keys and values; 0: by memory_utilization
  bool fill_memory = true;               ///< more blocks than max_num_seqs full sequences need
  bool allow_short = false;              ///< fewer blocks than one full sequence needs
  bool graphs = true;                    ///< replay recorded decode steps
};

/// graphs unless the environment says AWQ_CUDA_GRAPHS=0.
bool graphs_by_environment();

/// A model on a device with its pool of keys and values, as the engine runs it. Steps in which every sequence has one
/// token are recorded once per bucket of sequences and lengths (buckets.h), padded, with their logits and the largest
/// of each row, and then replayed.
class StepModel : public engine::StepModel {
 public:
  StepModel(std::unique_ptr<Model> model, const StepOptions& options);
  ~StepModel() override;

  const Model& model() const { return *model_; }
  std::int64_t vocab_size() const override { return model_->config().vocab_size; }
  std::int64_t max_model_len() const override { return max_model_len_; }
  std::span<const std::int32_t> eos_token_ids() const override { return model_->config().eos_token_ids; }
  std::int64_t block_count() const override { return block_count_; }
  std::int64_t block_size() const override { return kernels::kKvBlockTokens; }
  std::uint64_t kv_bytes() const override { return kv_.bytes(); }
  void run(std::span<const std::int32_t> ids, std::span<const model::SequenceSlice> slices) override;
  std::span<float> logits(std::span<const std::int64_t> tokens) override;
  bool greedy(std::span<const std::int64_t> tokens, std::span<std::int32_t> ids) override;
  bool draw(std::span<const std::int64_t> tokens, std::span<const ops::DrawRule> rules,
            std::span<std::int32_t> ids) override;

  std::size_t recorded_steps() const { return graphs_.size(); }
  const device::Stream& stream() const { return stream_; }

 private:
  struct Key {
    std::int64_t sequences = 0, length = 0;
  };
  struct Recorded {
    Key key;
    device::Graph graph;
  };
  void upload_batch(const BatchLayout& layout, std::span<const std::int32_t> ids,
                    std::span<const model::SequenceSlice> slices);
  void run_decode(const BatchLayout& layout, const Key& key);
  void enqueue_decode(const BatchLayout& layout, const Key& key);
  /// Enqueues logits of these rows of the last run(), at most limits_.rows.
  void enqueue_head(std::span<const std::int64_t> tokens);
  /// Row of a token's hidden state.
  std::int32_t row_of(std::int64_t token) const;

  std::unique_ptr<Model> model_;
  bool use_graphs_ = true;
  std::int64_t max_model_len_ = 0;
  BatchLimits limits_;
  std::int64_t block_count_ = 0;
  device::Stream stream_;
  device::Arena arena_;
  Activations work_;
  std::int32_t* device_words_ = nullptr;  ///< of the batch under way (BatchLayout)
  std::int32_t* device_rows_ = nullptr;   ///< [limits_.rows]
  std::int32_t* device_ids_ = nullptr;    ///< [limits_.rows] largest of each row of logits
  std::int32_t* device_drawn_ = nullptr;  ///< [limits_.rows] drawn by device_rules_
  ops::DrawRule* device_rules_ = nullptr;
  device::PinnedBuffer words_, rows_, ids_, drawn_, rules_, logits_;
  device::Buffer kv_;
  KvPool pool_;
  device::Event uploaded_;
  bool upload_pending_ = false;
  bool has_logits_ = false;                ///< of every token of the last run(): row t for token t
  const float* hidden_ = nullptr;          ///< hidden states of the last run()
  std::span<const std::int32_t> results_;  ///< the tokens that have one, rising; among words_
  std::vector<Recorded> graphs_;
};

}  // namespace awq::gpu
