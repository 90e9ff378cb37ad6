#include "quantize/host_layer_runner.h"

#include <algorithm>
#include <cmath>

#include "quantize/host_site_search.h"
#include "quantize/target_correction.h"

namespace awq::quantize {
namespace {

using model::Site;

/// The original model beside the quantized one at one site: its pass goes first, and what its activations and residual
/// stream have over the other's is added up.
class Original {
 public:
  Original(std::int64_t hidden_size, CorrectionStatistics& correction)
      : hidden_size_(hidden_size), correction_(correction) {}

  /// Activations [tokens, width] and, where the site's linears write to it, the residual stream [tokens, hidden_size].
  void keep(const float* x, const float* residual, std::int64_t tokens, std::int64_t width) {
    inputs_.ensure(static_cast<std::size_t>(tokens * width));
    std::copy_n(x, tokens * width, inputs_.data());
    if (!correction_.has_residual()) return;
    gap_.ensure(static_cast<std::size_t>(tokens * hidden_size_));
    std::copy_n(residual, tokens * hidden_size_, gap_.data());
  }

  /// The same of the quantized model, for the tokens that were kept last.
  void add(const float* x, const float* residual, std::int64_t tokens, SiteStatistics& statistics) {
    if (!correction_.has_residual()) {
      statistics.add(x, tokens);
      correction_.add(inputs_.data(), x, nullptr, tokens);
      return;
    }
    // What is added to the residual stream counts relative to its size there, because whatever reads it normalises it.
    const std::int64_t width = statistics.width();
    weighted_.ensure(static_cast<std::size_t>(tokens * width));
#pragma omp parallel for schedule(static)
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* row = residual + t * hidden_size_;
      double squares = 0;
      for (std::int64_t i = 0; i < hidden_size_; ++i) squares += static_cast<double>(row[i]) * row[i];
      const float weight = squares > 0 ? static_cast<float>(std::sqrt(static_cast<double>(hidden_size_) / squares)) : 0;
      for (std::int64_t i = 0; i < hidden_size_; ++i) {
        float& at = gap_[static_cast<std::size_t>(t * hidden_size_ + i)];
        at = (at - row[i]) * weight;
      }
      for (std::int64_t i = t * width; i < (t + 1) * width; ++i) {
        weighted_[static_cast<std::size_t>(i)] = x[i] * weight;
        inputs_[static_cast<std::size_t>(i)] *= weight;
      }
    }
    statistics.add(weighted_.data(), tokens);
    correction_.add(inputs_.data(), weighted_.data(), gap_.data(), tokens);
  }

 private:
  std::int64_t hidden_size_;
  CorrectionStatistics& correction_;
  AlignedBuffer<float> inputs_, gap_, weighted_;
};

}  // namespace

HostLayerRunner::HostLayerRunner(const model::ModelFiles& files, std::int64_t index, const CalibrationBlocks& blocks,
                                 ops::Precision precision, std::span<HiddenStates> streams)
    : files_(files),
      precision_(precision),
      streams_(streams),
      passes_(files.config(), index, blocks.count, blocks.length, precision) {
  if (streams.size() > 1) exact_.emplace(files.load_layer(index));
}

std::unique_ptr<SiteSearch> HostLayerRunner::observe(const SitePass& pass, const model::LayerWeights& weights) {
  const model::ModelConfig& config = files_.config();
  const std::int64_t width = model::site_width(config, pass.site);
  SiteStatistics statistics(width, precision_);
  std::unique_ptr<CorrectionStatistics> correction;
  {
    const model::DecoderLayer layer = runnable(files_.architecture(), weights, pass.quantized.part, precision_);
    std::optional<Original> original;
    if (pass.exact) {
      const bool writes_residual = pass.site == Site::kAttentionOutput || pass.site == Site::kMlpProduct;
      correction = std::make_unique<CorrectionStatistics>(width, writes_residual ? config.hidden_size : 0, precision_);
      original.emplace(config.hidden_size, *correction);
    }
    // One chunk of blocks as far as a stream goes.
    const auto run = [&](const model::DecoderLayer& through, const StreamPass& way, std::int64_t block,
                         const LayerPasses::Seen& seen) {
      passes_.forward(through, streams_[way.stream], block, way.part, pass.site, seen);
      if (way.store) passes_.store(streams_[way.stream], block);
    };
    for (std::int64_t block = 0; block < passes_.blocks(); block += passes_.per_chunk()) {
      if (original) {
        run(*exact_, *pass.exact, block,
            [&](const float* x, std::int64_t tokens) { original->keep(x, passes_.rows().data(), tokens, width); });
      }
      run(layer, pass.quantized, block, [&](const float* x, std::int64_t tokens) {
        if (original) {
          original->add(x, passes_.rows().data(), tokens, statistics);
        } else {
          statistics.add(x, tokens);
        }
      });
    }
    statistics.finish();
  }
  // The search needs the memory of what no pass will need again.
  passes_.release();
  if (exact_) {
    for (const model::LinearSpec& linear : files_.architecture().linears) {
      if (!pass.exact_rest || !runs(*pass.exact_rest, linear.input))
        exact_->linears[static_cast<std::size_t>(linear.role)] = ops::Linear();
    }
  }
  return std::make_unique<HostSiteSearch>(std::move(statistics), std::move(correction));
}

void HostLayerRunner::advance(const StreamPass& pass, const model::LayerWeights* weights) {
  if (weights == nullptr) return passes_.advance(*exact_, streams_[pass.stream], pass.part);
  passes_.advance(runnable(files_.architecture(), *weights, pass.part, precision_), streams_[pass.stream], pass.part);
}

}  // namespace awq::quantize
