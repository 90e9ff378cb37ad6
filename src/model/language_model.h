#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/decoder.h"

namespace awq::model {

/// A whole model resident in memory: embedding, layers, head.
class LanguageModel {
 public:
  explicit LanguageModel(const WeightSource& source);

  const ModelConfig& config() const { return config_; }
  std::span<const DecoderLayer> layers() const { return layers_; }
  const ops::Linear& head() const { return head_; }
  /// Runs a flat batch: `ids` are the new tokens of all slices. Returns the logits [slices, vocab_size] of each
  /// slice's last token, or of every token when `all` is set; advances the caches. The memory is valid until the
  /// next call.
  std::span<const float> forward(std::span<const std::int32_t> ids, std::span<const SequenceSlice> slices,
                                 bool all = false);
  /// Bytes of weights that one token reads.
  std::uint64_t bytes_per_token() const;

 private:
  ModelConfig config_;
  Decoder decoder_;
  std::vector<DecoderLayer> layers_;
  AlignedBuffer<float> final_norm_;
  ops::Linear head_;
  ops::Linear embedding_;  ///< empty when the head serves as the embedding
  AlignedBuffer<float> hidden_, last_, logits_;
};

}  // namespace awq::model
