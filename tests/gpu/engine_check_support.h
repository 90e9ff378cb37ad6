#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "base/random.h"
#include "engine/engine_core.h"
#include "engine/step_model.h"

/// How engine_check drives a model: step by step, or through the engine.
namespace awq::gpu_test {

inline std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab, std::uint64_t seed) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back(static_cast<std::int32_t>(random_bits(seed, static_cast<std::uint64_t>(i)) %
                                            static_cast<std::uint64_t>(vocab)));
  }
  return out;
}

/// Sequences of a batch, each with blocks of its own.
class Sequences {
 public:
  explicit Sequences(engine::StepModel& model) : model_(model) {}
  /// Runs `ids` behind `past` tokens of sequence `index` of up to `length` tokens.
  void add(std::int64_t index, std::int64_t past, std::span<const std::int32_t> ids, std::int64_t results = -1) {
    while (static_cast<std::int64_t>(tables_.size()) <= index) {
      tables_.emplace_back(static_cast<std::size_t>(kBlocks));
      std::iota(tables_.back().begin(), tables_.back().end(),
                static_cast<std::int32_t>((tables_.size() - 1) * kBlocks));
    }
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    slices_.push_back({.token_count = static_cast<std::int64_t>(ids.size()),
                       .past = past,
                       .blocks = tables_[static_cast<std::size_t>(index)],
                       .results = results});
  }
  void run() {
    model_.run(ids_, slices_);
    ids_.clear();
    slices_.clear();
  }
  std::vector<float> logits(std::vector<std::int64_t> rows) {
    const std::span<float> found = model_.logits(rows);
    return {found.begin(), found.end()};
  }
  static constexpr std::int64_t kBlocks = 16;

 private:
  engine::StepModel& model_;
  std::vector<std::vector<std::int32_t>> tables_ = [] {
    std::vector<std::vector<std::int32_t>> tables;
    tables.reserve(64);  // slices point into them
    return tables;
  }();
  std::vector<std::int32_t> ids_;
  std::vector<model::SequenceSlice> slices_;
};

/// Logits of some tokens of batches, which are to be the same whether only they have results (`narrow`) or all tokens:
/// some of one slice, the last of another, none of a third; then one token alone, and what comes behind it. `text` has
/// 40 tokens.
inline std::vector<float> logits_of_results(engine::StepModel& model, std::span<const std::int32_t> text, bool narrow) {
  Sequences sequences(model);
  std::vector<float> found;
  const auto keep = [&](std::vector<std::int64_t> rows) {
    const std::vector<float> logits = sequences.logits(std::move(rows));
    found.insert(found.end(), logits.begin(), logits.end());
  };
  sequences.add(0, 0, text.subspan(0, 21), narrow ? 12 : -1);
  sequences.add(1, 0, text.subspan(3, 9), narrow ? 0 : -1);
  sequences.add(2, 0, text.subspan(7, 14), narrow ? 1 : -1);
  sequences.run();
  keep({9, 12, 20, 43});
  sequences.add(1, 9, text.subspan(12, 17), narrow ? 1 : -1);
  sequences.run();
  keep({16});
  sequences.add(1, 26, text.subspan(29, 5), narrow ? 0 : -1);
  sequences.run();
  sequences.add(1, 31, text.subspan(34, 1));
  sequences.run();
  keep({0});
  return found;
}

/// Largest difference over the largest magnitude.
inline double relative_error(std::span<const float> found, std::span<const float> expected) {
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double difference = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    worst = std::isfinite(difference) ? std::max(worst, difference) : INFINITY;
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return worst / largest;
}

struct Sink : engine::RequestSink {
  std::vector<std::int32_t> ids;
  void on_token(const engine::TokenEvent& event) override {
    if (event.token_id >= 0) ids.push_back(event.token_id);
  }
};

/// What requests of these prompts give, all at once.
inline std::vector<std::vector<std::int32_t>> generate(engine::StepModel& model, const engine::EngineOptions& options,
                                                       const std::vector<std::vector<std::int32_t>>& prompts,
                                                       double temperature, std::int64_t max_tokens) {
  engine::EngineCore core(model, options, {});
  std::vector<std::shared_ptr<Sink>> sinks;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    sinks.push_back(std::make_shared<Sink>());
    engine::Request request{.prompt = prompts[i]};
    request.sampling.temperature = temperature;
    request.sampling.max_tokens = max_tokens;
    request.sampling.ignore_eos = true;
    request.sampling.seed = i;
    core.add(engine::make_request(i + 1, std::move(request), sinks.back()));
  }
  engine::StepReport step;
  while (!core.idle()) core.step(step);
  core.check();
  std::vector<std::vector<std::int32_t>> out;
  for (const auto& sink : sinks) out.push_back(sink->ids);
  return out;
}

}  // namespace awq::gpu_test
