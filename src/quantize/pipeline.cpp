#include "quantize/pipeline.h"

#include <algorithm>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/stop.h"
#include "quant/group_quant.h"
#include "quantize/paper_recipe.h"
#include "quantize/resource_plan.h"

namespace awq::quantize {

LayerPipeline::LayerPipeline(const model::ModelFiles& files, const OutputPlan& plan, const QuantizeOptions& options,
                             CalibrationBlocks blocks, ops::Precision precision, LayerDevice* device)
    : files_(files),
      plan_(plan),
      options_(options),
      blocks_(std::move(blocks)),
      precision_(precision),
      device_(device) {
  for (int i = 0; i < stream_count(options_); ++i)
    streams_.emplace_back(blocks_.count * blocks_.length, files.config().hidden_size);
  if (device_ != nullptr) device_->begin(files_, blocks_, precision_, streams_);
}

void LayerPipeline::embed() {
  const std::int64_t width = files_.config().hidden_size;
  AlignedBuffer<float> rows(static_cast<std::size_t>(blocks_.length * width));
  for (std::int64_t block = 0; block < blocks_.count; ++block) {
    const std::span<const std::int32_t> ids(blocks_.ids.data() + block * blocks_.length,
                                            static_cast<std::size_t>(blocks_.length));
    files_.embed(ids, rows.data());
    for (HiddenStates& stream : streams_) stream.store(block * blocks_.length, blocks_.length, rows.data());
    if (const PlannedVocabulary* embedding = plan_.quantized_embedding(files_)) {
      // The first stream is that of the quantized model.
      quant::dequantize(
          quant::round_to_nearest(rows.data(), static_cast<std::uint64_t>(blocks_.length),
                                  static_cast<std::uint64_t>(width), embedding->scheme, embedding->scale_dtype),
          rows.data());
      streams_.front().store(block * blocks_.length, blocks_.length, rows.data());
    }
  }
}

LayerStatistics LayerPipeline::collect(std::int64_t index, model::LayerWeights& weights,
                                       std::array<std::vector<float>, model::kSites>* sampled) {
  const model::ModelConfig& config = files_.config();
  const std::array<bool, model::kRoles> quantized = plan_.quantized_roles(index);
  LayerStatistics statistics;
  for (const model::LinearSpec& linear : files_.architecture().linears) {
    auto& site = statistics[static_cast<std::size_t>(linear.input)];
    if (quantized[static_cast<std::size_t>(linear.role)] && !site)
      site.emplace(model::site_width(config, linear.input), precision_);
  }
  const model::SiteObserver observer = [&](model::Site site, const float* x, std::int64_t tokens) {
    auto& s = statistics[static_cast<std::size_t>(site)];
    if (!s) return;
    if (sampled != nullptr) {
      const std::int64_t step = paper_clip_step(blocks_.count * blocks_.length);
      std::vector<float>& to = (*sampled)[static_cast<std::size_t>(site)];
      for (std::int64_t t = 0; t < tokens; ++t) {
        if ((s->tokens() + t) % step == 0) to.insert(to.end(), x + t * s->width(), x + (t + 1) * s->width());
      }
    }
    s->add(x, tokens);
  };
  const bool last = index + 1 == config.num_hidden_layers;
  // The layer borrows the stored weights for the forward pass and gives them back.
  model::DecoderLayer layer(std::move(weights));
  model::Decoder decoder(config);
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kCalibrationChunk / blocks_.length);
  AlignedBuffer<float> rows(static_cast<std::size_t>(per_chunk * blocks_.length * config.hidden_size));
  for (std::int64_t block = 0; block < blocks_.count; block += per_chunk) {
    stop_flag().throw_if_requested();
    const std::int64_t count = std::min(per_chunk, blocks_.count - block);
    const std::vector<model::SequenceSlice> slices(static_cast<std::size_t>(count), {.token_count = blocks_.length});
    streams_.front().load(block * blocks_.length, count * blocks_.length, rows.data());
    decoder.forward_layer(layer, index, slices, rows.data(), precision_, observer);
    if (!last) streams_.front().store(block * blocks_.length, count * blocks_.length, rows.data());
  }
  weights = std::move(layer).into_weights();
  for (auto& site : statistics) {
    if (site) site->finish();
  }
  return statistics;
}

void LayerPipeline::check_weights(std::int64_t index, const model::LayerWeights& weights) const {
  for (const model::LinearSpec& linear : files_.architecture().linears)
    model::check_finite(weights[linear.role], files_.linear_name(index, linear) + ".weight");
}

LayerPlan LayerPipeline::layer_plan(std::int64_t index) const {
  const bool awq = options_.method == "awq";
  const bool best = awq && options_.recipe == "best";
  LayerPlan plan{.scheme = plan_.scheme,
                 .site_scheme = {},
                 .scale_dtype = plan_.scale_dtype,
                 .search_scales = awq,
                 .search_ranges = awq && options_.search_ranges,
                 .codes = best                        ? CodeSearch::kDescent
                          : options_.method == "gptq" ? CodeSearch::kFeedback
                                                      : CodeSearch::kRound,
                 .tie_value_heads = best,
                 .precision = precision_,
                 .quantized = plan_.quantized_roles(index)};
  for (const PlannedLinear& linear : plan_.linears) {
    if (linear.layer == index) plan.site_scheme[static_cast<std::size_t>(linear.spec->input)] = linear.scheme;
  }
  for (const model::SiteSpec& site : files_.architecture().sites) {
    if (site.norm == nullptr) continue;
    plan.norm_dtype[static_cast<std::size_t>(site.site)] =
        files_.checkpoint().get(files_.layer_name(index, site.norm) + ".weight").dtype;
  }
  return plan;
}

LayerPipeline::Result LayerPipeline::run_layer(std::int64_t index) {
  Result result;
  std::string name = files_.layer_name(index, "");
  name.pop_back();
  try {
    result.weights = files_.load_layer(index);
    check_weights(index, result.weights);
    const LayerPlan plan = layer_plan(index);
    if (calibrates() && quantizes_in_sequence(options_)) {
      result.report = run_in_sequence(index, plan, result.weights);
    } else if (calibrates() && options_.method == "awq" && options_.recipe == "paper") {
      result.report = run_as_published(index, plan, result.weights);
    } else {
      if (calibrates() && device_ != nullptr) {
        result.report = quantize_layer(files_.config(), files_.architecture(), plan,
                                       device_->collect(index, result.weights, plan.quantized), result.weights, name);
      } else {
        LayerStatistics statistics;
        if (calibrates()) statistics = collect(index, result.weights);
        result.report = quantize_layer(files_.config(), files_.architecture(), plan, statistics, result.weights, name);
      }
    }
  } catch (Error& error) {
    error.add_note("layer " + std::to_string(index));
    throw;
  }
  return result;
}

void LayerPipeline::fetch_hidden() {
  if (device_ != nullptr) device_->fetch_hidden();
}

bool needs_calibration(const QuantizeOptions& options) { return options.method != "rtn" && options.method != "fp8"; }

void check_device_method(const QuantizeOptions& options, const std::string& device) {
  if (!needs_calibration(options)) {
    fail(ErrorCode::kInvalidArgument, "--device {}: --method {} only rounds, which the processor does", device,
         options.method);
  }
  if (options.method == "awq" && options.recipe == "paper") {
    fail(ErrorCode::kInvalidArgument, "--device {}: --recipe paper runs on the processor only; expected best or fast",
         device);
  }
}

bool quantizes_in_sequence(const QuantizeOptions& options) {
  return options.method == "gptq" || (options.method == "awq" && options.recipe == "best");
}

int stream_count(const QuantizeOptions& options) { return options.method == "awq" && options.recipe == "best" ? 2 : 1; }

ops::Precision calibration_precision(const model::ModelFiles& files, bool on_device) {
  return files.dtype() == DType::kBf16 && (on_device || has_native_bf16()) ? ops::Precision::kBf16
                                                                           : ops::Precision::kF32;
}

CalibrationText load_calibration_text(const QuantizeOptions& options) {
  CalibrationText out;
  text::Documents documents;
  if (options.calibration.empty()) {
    out.name = "the default calibration text";
    documents = text::split_documents(default_calibration_text(), out.name);
  } else {
    out.name = options.calibration.filename().string();
    documents = text::read_documents(options.calibration);
  }
  if (options.evaluate) {
    out.split = split_held_out(std::move(documents));
  } else {
    out.split.calibration = std::move(documents);
  }
  return out;
}

}  // namespace awq::quantize
