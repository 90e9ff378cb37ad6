#include "quantize/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/stop.h"
#include "eval/divergence.h"
#include "model/decoder.h"
#include "ops/elementwise.h"
#include "quant/group_quant.h"
#include "quantize/layer_passes.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;

// Tokens that losses are measured on: their order is clear long before their digits are. A deep model has more
// candidates, whose hidden states are all there at the same time, and gets fewer tokens.
constexpr std::int64_t kMostTokens = 1024;
constexpr std::int64_t kFewestTokens = 256;
constexpr std::int64_t kHeldTokens = 65536;
constexpr std::int64_t kSequence = 256;
// Rows of logits at a time.
constexpr std::int64_t kHeadRows = 64;
// The header of a safetensors file names shapes and offsets in decimal digits, a few more for larger tensors.
constexpr std::uint64_t kHeaderBytes = 64;

std::int64_t sample_tokens(std::size_t candidates) {
  const auto count = std::max<std::int64_t>(1, static_cast<std::int64_t>(candidates));
  return std::clamp(kHeldTokens / count, kFewestTokens, kMostTokens);
}

std::uint64_t encoded_bytes(const OutputPlan& plan, const quant::Scheme& scheme, model::LinearShape shape) {
  std::uint64_t total = 0;
  for (const formats::TensorSpec& spec :
       plan.codec->encoded_specs(scheme, plan.scale_dtype, static_cast<std::uint64_t>(shape.out_features),
                                 static_cast<std::uint64_t>(shape.in_features))) {
    total += spec.size_bytes();
  }
  return total;
}

/// Beginnings of blocks from all over the text.
CalibrationBlocks sample_of(const CalibrationBlocks& blocks, std::size_t candidates) {
  CalibrationBlocks out;
  out.length = std::min(blocks.length, kSequence);
  out.count = std::clamp<std::int64_t>(sample_tokens(candidates) / out.length, 1, blocks.count);
  for (std::int64_t i = 0; i < out.count; ++i) {
    const auto from = blocks.ids.begin() + i * blocks.count / out.count * blocks.length;
    out.ids.insert(out.ids.end(), from, from + out.length);
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

/// Sum over rows of KL(softmax(exact) || softmax(changed)); logits [rows, vocab], `exact_rows` those of `exact`
/// reduced.
double divergence(const float* exact, const eval::LogitRow* exact_rows, const float* changed, std::int64_t rows,
                  std::int64_t vocab) {
  std::vector<double> of_row(static_cast<std::size_t>(rows));  // summed in order: the same bits in every run
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* q = changed + row * vocab;
    of_row[static_cast<std::size_t>(row)] =
        eval::kl_divergence(exact + row * vocab, exact_rows[row], q, eval::reduce_row(q, vocab), vocab);
  }
  return std::accumulate(of_row.begin(), of_row.end(), 0.0);
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
  const CalibrationBlocks sample = sample_of(blocks, candidates.size());
  const model::ModelConfig& config = files.config();
  const std::int64_t width = config.hidden_size;
  const std::int64_t tokens = sample.count * sample.length;
  const std::vector<model::SequenceSlice> slices(static_cast<std::size_t>(sample.count),
                                                 {.token_count = sample.length});
  AlignedBuffer<float> exact(static_cast<std::size_t>(tokens * width));
  files.embed(sample.ids, exact.data());
  std::vector<AlignedBuffer<float>> changed(candidates.size());
  model::Decoder decoder(config);
  for (std::int64_t index = 0; index < config.num_hidden_layers; ++index) {
    model::DecoderLayer layer = runnable(files.architecture(), files.load_layer(index), {}, precision);
    model::DecoderLayer rounded = runnable(files.architecture(), rounded_layer(files, narrow, index), {}, precision);
    const auto swap_site = [&](model::Site site) {
      for (const LinearSpec& linear : files.architecture().linears) {
        const auto role = static_cast<std::size_t>(linear.role);
        if (linear.input == site) std::swap(layer.linears[role], rounded.linears[role]);
      }
    };
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      stop_flag().throw_if_requested();
      if (candidates[i].layer > index) continue;
      const bool here = candidates[i].layer == index;
      if (here) {
        changed[i] = AlignedBuffer<float>(exact.size());
        std::copy(exact.begin(), exact.end(), changed[i].begin());
        swap_site(candidates[i].site);
      }
      decoder.forward_layer(layer, index, slices, changed[i].data(), precision);
      if (here) swap_site(candidates[i].site);
    }
    decoder.forward_layer(layer, index, slices, exact.data(), precision);
  }

  const AlignedBuffer<float> norm = files.load_final_norm();
  const ops::Linear head = files.load_head().into_linear();
  AlignedBuffer<float> normed(static_cast<std::size_t>(kHeadRows * width));
  const auto logits = [&](const AlignedBuffer<float>& hidden, std::int64_t row, std::int64_t rows, float* out) {
    ops::rms_norm(hidden.data() + row * width, rows, width, norm.data(), static_cast<float>(config.rms_norm_eps),
                  normed.data());
    head.forward(normed.data(), rows, out, precision);
  };
  AlignedBuffer<float> expected(static_cast<std::size_t>(kHeadRows * config.vocab_size));
  AlignedBuffer<float> found(expected.size());
  std::vector<eval::LogitRow> reduced(static_cast<std::size_t>(kHeadRows));
  for (std::int64_t row = 0; row < tokens; row += kHeadRows) {
    stop_flag().throw_if_requested();
    const std::int64_t rows = std::min(kHeadRows, tokens - row);
    logits(exact, row, rows, expected.data());
    eval::reduce_rows(expected.data(), rows, config.vocab_size, reduced.data());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      logits(changed[i], row, rows, found.data());
      candidates[i].loss += divergence(expected.data(), reduced.data(), found.data(), rows, config.vocab_size) /
                            static_cast<double>(tokens);
    }
  }
}

std::uint64_t measuring_bytes(const model::ModelFiles& files, std::size_t candidates) {
  const auto width = static_cast<std::uint64_t>(files.config().hidden_size);
  const auto vocabulary = static_cast<std::uint64_t>(files.config().vocab_size);
  const std::uint64_t streams =
      (candidates + 1) * static_cast<std::uint64_t>(sample_tokens(candidates)) * width * sizeof(float);
  const std::uint64_t head = vocabulary * width * (dtype_bits(files.dtype()) / 8);
  return streams + head + 2 * static_cast<std::uint64_t>(kHeadRows) * vocabulary * sizeof(float);
}

double measuring_passes(const model::ModelFiles& files, std::size_t candidates) {
  // A candidate of layer l goes through the layers from l on: half of them on average.
  return static_cast<double>(candidates) / 2 * static_cast<double>(sample_tokens(candidates)) *
         static_cast<double>(files.config().num_hidden_layers);
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
