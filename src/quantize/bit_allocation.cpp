#include "quantize/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/stop.h"
#include "quant/group_quant.h"
#include "quantize/hidden_states.h"
#include "quantize/layer_passes.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;

// Tokens that losses are measured on: their order is clear long before their digits are.
constexpr std::int64_t kTokens = 8192;
// The header of a safetensors file names shapes and offsets in decimal digits, a few more for larger tensors.
constexpr std::uint64_t kHeaderBytes = 64;

std::uint64_t encoded_bytes(const OutputPlan& plan, const quant::Scheme& scheme, model::LinearShape shape) {
  std::uint64_t total = 0;
  for (const formats::TensorSpec& spec :
       plan.codec->encoded_specs(scheme, plan.scale_dtype, static_cast<std::uint64_t>(shape.out_features),
                                 static_cast<std::uint64_t>(shape.in_features))) {
    total += spec.size_bytes();
  }
  return total;
}

/// Blocks from all over the text, kTokens of them or all.
CalibrationBlocks sample_of(const CalibrationBlocks& blocks) {
  CalibrationBlocks out;
  out.length = blocks.length;
  out.count = std::min(blocks.count, std::max<std::int64_t>(1, kTokens / blocks.length));
  for (std::int64_t i = 0; i < out.count; ++i) {
    const auto from = blocks.ids.begin() + i * blocks.count / out.count * blocks.length;
    out.ids.insert(out.ids.end(), from, from + blocks.length);
  }
  return out;
}

/// The layer with its planned linears rounded to the narrow width.
model::LayerWeights rounded_layer(const model::ModelFiles& files, const OutputPlan& narrow, std::int64_t index) {
  model::LayerWeights weights = files.load_layer(index);
  for (const PlannedLinear& linear : narrow.linears) {
    if (linear.layer != index || !linear.kept_because.empty()) continue;
    model::LinearWeights& w = weights[linear.spec->role];
    const AlignedBuffer<float> floats = w.to_floats();
    model::check_finite(floats.span(), linear.module + ".weight");
    w.quantized =
        quant::round_to_nearest(floats.data(), w.out_features, w.in_features, linear.scheme, narrow.scale_dtype);
    w.dense = {};
  }
  return weights;
}

/// Sum over tokens of |changed - exact|^2 / |exact|^2.
double relative_change(const float* changed, const float* exact, std::int64_t tokens, std::int64_t width) {
  double total = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
    double change = 0;
    double size = 0;
    for (std::int64_t i = t * width; i < (t + 1) * width; ++i) {
      const double d = static_cast<double>(changed[i]) - static_cast<double>(exact[i]);
      change += d * d;
      size += static_cast<double>(exact[i]) * static_cast<double>(exact[i]);
    }
    if (size > 0) total += change / size;
  }
  return total;
}

}  // namespace

std::vector<WideCandidate> wide_candidates(const model::ModelFiles& files, const OutputPlan& narrow) {
  std::vector<WideCandidate> out;
  for (const PlannedLinear& linear : narrow.linears) {
    if (!linear.kept_because.empty()) continue;
    const auto same = std::find_if(out.begin(), out.end(), [&](const WideCandidate& c) {
      return c.layer == linear.layer && c.site == linear.spec->input;
    });
    WideCandidate& candidate =
        same != out.end() ? *same : out.emplace_back(WideCandidate{.layer = linear.layer, .site = linear.spec->input});
    const model::LinearShape shape = model::linear_shape(files.config(), linear.spec->role);
    candidate.extra_bytes += encoded_bytes(narrow, wide_scheme(linear.scheme), shape) -
                             encoded_bytes(narrow, linear.scheme, shape) + kHeaderBytes;
  }
  return out;
}

void measure_losses(const model::ModelFiles& files, const OutputPlan& narrow, const CalibrationBlocks& blocks,
                    ops::Precision precision, std::vector<WideCandidate>& candidates) {
  const CalibrationBlocks sample = sample_of(blocks);
  const std::int64_t width = files.config().hidden_size;
  const model::Architecture& architecture = files.architecture();
  HiddenStates stream(sample.count * sample.length, width);
  AlignedBuffer<float> rows(static_cast<std::size_t>(sample.length * width));
  for (std::int64_t block = 0; block < sample.count; ++block) {
    files.embed({sample.ids.data() + block * sample.length, static_cast<std::size_t>(sample.length)}, rows.data());
    stream.store(block * sample.length, sample.length, rows.data());
  }
  for (std::int64_t index = 0; index < files.config().num_hidden_layers; ++index) {
    LayerPasses passes(files.config(), index, sample.count, sample.length, precision);
    model::DecoderLayer exact = runnable(architecture, files.load_layer(index), std::nullopt, precision);
    model::DecoderLayer rounded = runnable(architecture, rounded_layer(files, narrow, index), std::nullopt, precision);
    const auto swap_site = [&](model::Site site) {
      for (const LinearSpec& linear : architecture.linears) {
        if (linear.input != site) continue;
        const auto role = static_cast<std::size_t>(linear.role);
        std::swap(exact.linears[role], rounded.linears[role]);
      }
    };
    AlignedBuffer<float> expected;
    for (std::int64_t block = 0; block < sample.count; block += passes.per_chunk()) {
      passes.forward(exact, stream, block, std::nullopt, nullptr);
      const std::int64_t tokens = passes.tokens_at(block);
      expected.ensure(static_cast<std::size_t>(tokens * width));
      std::copy_n(passes.rows().data(), tokens * width, expected.data());
      for (WideCandidate& candidate : candidates) {
        if (candidate.layer != index) continue;
        swap_site(candidate.site);
        passes.forward(exact, stream, block, std::nullopt, nullptr);
        swap_site(candidate.site);
        candidate.loss += relative_change(passes.rows().data(), expected.data(), tokens, width) /
                          static_cast<double>(sample.count * sample.length);
      }
      stream.store(block * sample.length, tokens, expected.data());
    }
  }
}

WideSites choose_wide(const std::vector<WideCandidate>& candidates, std::uint64_t budget) {
  std::vector<std::size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto value = [&](std::size_t i) { return candidates[i].loss / static_cast<double>(candidates[i].extra_bytes); };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return value(a) > value(b); });
  WideSites out;
  for (const std::size_t i : order) {
    if (candidates[i].extra_bytes > budget) continue;
    budget -= candidates[i].extra_bytes;
    out.emplace(candidates[i].layer, candidates[i].site);
  }
  return out;
}

std::uint64_t wide_budget(const model::ModelFiles& files, const OutputPlan& narrow, double target_bpw) {
  const double parameters = static_cast<double>(files.parameter_count());
  const double target = std::floor(target_bpw * parameters / 8);
  if (static_cast<double>(narrow.checkpoint.file_bytes) > target) {
    const bool dense_ends = !narrow.copied.empty() && narrow.vocabulary.empty();
    fail(ErrorCode::kInvalidArgument,
         "--target-bpw {}: with {} bits in every linear the model has {:.3f} bits per parameter already{}", target_bpw,
         narrow.scheme.bits, 8 * static_cast<double>(narrow.checkpoint.file_bytes) / parameters,
         dense_ends ? "; --embed-bits 8 and --head-bits 8 make room" : "");
  }
  return static_cast<std::uint64_t>(target) - narrow.checkpoint.file_bytes;
}

WideSites sites_of(const OutputPlan& narrow, const std::vector<std::string>& modules) {
  WideSites out;
  for (const std::string& module : modules) {
    const auto found = std::find_if(narrow.linears.begin(), narrow.linears.end(),
                                    [&](const PlannedLinear& linear) { return linear.module == module; });
    if (found == narrow.linears.end()) {
      fail(ErrorCode::kCorruptFile, "the interrupted run gave 8 bits to \"{}\", which this model does not have",
           printable(module));
    }
    out.emplace(found->layer, found->spec->input);
  }
  return out;
}

OutputPlan provisional_plan(const model::ModelFiles& files, const QuantizeOptions& options) {
  OutputPlan narrow = plan_output(files, options);
  if (options.target_bpw == 0) return narrow;
  return plan_output(files, options,
                     choose_wide(wide_candidates(files, narrow), wide_budget(files, narrow, options.target_bpw)));
}

}  // namespace awq::quantize
