#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/decoder.h"
#include "model/model_files.h"
#include "ops/linear.h"

namespace awq::eval {

/// Hidden states of some sequences under one model, taken through it layer by layer, so that memory holds one layer.
/// Rows are the tokens of all sequences one after the other.
class LayerStream {
 public:
  /// Rows of logits that can be held at a time.
  static constexpr std::int64_t kHeadRows = 256;

  /// `source` and `sequences` must outlive this object.
  LayerStream(const model::WeightSource& source, std::span<const std::vector<std::int32_t>> sequences,
              ops::Precision precision);

  void run_layer(std::int64_t index);
  /// Loads the final norm and the head; call after the last layer.
  void prepare_head();
  /// Logits [count, vocab_size] of rows [begin, begin + count), count <= kHeadRows; valid until the next call.
  const float* logits(std::int64_t begin, std::int64_t count);
  /// The same of any rows, at most kHeadRows of them.
  const float* logits(std::span<const std::int64_t> rows);

 private:
  std::int64_t width() const { return source_.config().hidden_size; }
  const float* project(const float* rows, std::int64_t count);

  const model::WeightSource& source_;
  std::span<const std::vector<std::int32_t>> sequences_;
  ops::Precision precision_;
  model::Decoder decoder_;
  AlignedBuffer<float> hidden_, norm_, gathered_, normed_, logits_;
  ops::Linear head_;
};

}  // namespace awq::eval
