#include "eval/layer_stream.h"

#include <algorithm>

#include "base/check.h"
#include "base/stop.h"
#include "ops/elementwise.h"

namespace awq::eval {
namespace {

// Tokens that go through a layer at a time: enough for good matrix products, few enough for the cache of activations.
constexpr std::int64_t kLayerChunk = 2048;

}  // namespace

LayerStream::LayerStream(const model::WeightSource& source, std::span<const std::vector<std::int32_t>> sequences,
                         ops::Precision precision)
    : source_(source), sequences_(sequences), precision_(precision), decoder_(source.config()) {
  std::vector<std::int32_t> ids;
  for (const auto& sequence : sequences) ids.insert(ids.end(), sequence.begin(), sequence.end());
  hidden_ = AlignedBuffer<float>(ids.size() * static_cast<std::size_t>(width()));
  source.embed(ids, hidden_.data());
}

void LayerStream::run_layer(std::int64_t index) {
  const model::DecoderLayer layer(source_.load_layer(index));
  std::size_t sequence = 0;
  std::int64_t begin = 0;
  while (sequence < sequences_.size()) {
    stop_flag().throw_if_requested();
    std::vector<model::SequenceSlice> slices;
    std::int64_t tokens = 0;
    do {
      const auto count = static_cast<std::int64_t>(sequences_[sequence].size());
      slices.push_back({.token_count = count});
      tokens += count;
      ++sequence;
    } while (sequence < sequences_.size() &&
             tokens + static_cast<std::int64_t>(sequences_[sequence].size()) <= kLayerChunk);
    decoder_.forward_layer(layer, index, slices, hidden_.data() + begin * width(), precision_);
    begin += tokens;
  }
}

void LayerStream::prepare_head() {
  norm_ = source_.load_final_norm();
  head_ = source_.load_head().into_linear();
}

const float* LayerStream::logits(std::int64_t begin, std::int64_t count) {
  return project(hidden_.data() + begin * width(), count);
}

const float* LayerStream::logits(std::span<const std::int64_t> rows) {
  gathered_.ensure(static_cast<std::size_t>(kHeadRows * width()));
  float* to = gathered_.data();
  for (const std::int64_t row : rows) {
    const float* from = hidden_.data() + row * width();
    to = std::copy(from, from + width(), to);
  }
  return project(gathered_.data(), static_cast<std::int64_t>(rows.size()));
}

const float* LayerStream::project(const float* rows, std::int64_t count) {
  AWQ_CHECK(count <= kHeadRows);
  normed_.ensure(static_cast<std::size_t>(kHeadRows * width()));
  logits_.ensure(static_cast<std::size_t>(kHeadRows * source_.config().vocab_size));
  ops::rms_norm(rows, count, width(), norm_.data(), static_cast<float>(source_.config().rms_norm_eps), normed_.data());
  head_.forward(normed_.data(), count, logits_.data(), precision_);
  return logits_.data();
}

}  // namespace awq::eval
