#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/stop.h"
#include "model/decoder.h"
#include "ops/elementwise.h"

namespace awq::eval {
namespace {

// Tokens that go through a layer at a time: enough for good matrix products, few enough for the cache of activations.
constexpr std::int64_t kLayerChunk = 2048;
// Rows of logits that are held at a time.
constexpr std::int64_t kHeadChunk = 256;

/// Hidden states of some windows under one model, taken through it layer by layer.
class Stream {
 public:
  Stream(const model::WeightSource& source, std::span<const std::vector<std::int32_t>> windows,
         ops::Precision precision)
      : source_(source), windows_(windows), precision_(precision), decoder_(source.config()) {
    std::vector<std::int32_t> ids;
    for (const auto& window : windows) ids.insert(ids.end(), window.begin(), window.end());
    hidden_ = AlignedBuffer<float>(ids.size() * static_cast<std::size_t>(width()));
    source.embed(ids, hidden_.data());
  }

  void run_layer(std::int64_t index) {
    const model::DecoderLayer layer(source_.load_layer(index));
    std::size_t window = 0;
    std::int64_t begin = 0;
    while (window < windows_.size()) {
      stop_flag().throw_if_requested();
      std::vector<model::SequenceSlice> slices;
      std::int64_t tokens = 0;
      do {
        const auto count = static_cast<std::int64_t>(windows_[window].size());
        slices.push_back({.token_count = count});
        tokens += count;
        ++window;
      } while (window < windows_.size() && tokens + static_cast<std::int64_t>(windows_[window].size()) <= kLayerChunk);
      decoder_.forward_layer(layer, index, slices, hidden_.data() + begin * width(), precision_);
      begin += tokens;
    }
  }

  void prepare_head() {
    norm_ = source_.load_final_norm();
    head_ = source_.load_head().into_linear();
  }

  /// Logits [count, vocab_size] of rows [begin, begin + count).
  const float* logits(std::int64_t begin, std::int64_t count) {
    normed_.ensure(static_cast<std::size_t>(kHeadChunk * width()));
    logits_.ensure(static_cast<std::size_t>(kHeadChunk * source_.config().vocab_size));
    ops::rms_norm(hidden_.data() + begin * width(), count, width(), norm_.data(),
                  static_cast<float>(source_.config().rms_norm_eps), normed_.data());
    head_.forward(normed_.data(), count, logits_.data(), precision_);
    return logits_.data();
  }

 private:
  std::int64_t width() const { return source_.config().hidden_size; }

  const model::WeightSource& source_;
  std::span<const std::vector<std::int32_t>> windows_;
  ops::Precision precision_;
  model::Decoder decoder_;
  AlignedBuffer<float> hidden_, norm_, normed_, logits_;
  ops::Linear head_;
};

struct Row {
  double log_sum = 0;  ///< log of the sum of exp(logit)
  std::int64_t best = 0;
};

Row reduce(const float* logits, std::int64_t vocab) {
  Row row;
  for (std::int64_t v = 1; v < vocab; ++v) {
    if (logits[v] > logits[row.best]) row.best = v;
  }
  double sum = 0;
  for (std::int64_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[v]) - logits[row.best]);
  row.log_sum = logits[row.best] + std::log(sum);
  return row;
}

/// What one predicted token adds.
struct TokenScore {
  double nll = 0, base_nll = 0, kl = 0;
  bool agree = false;
};

TokenScore score(const float* model, const float* base, std::int64_t vocab, std::int32_t target) {
  TokenScore out;
  const Row m = reduce(model, vocab);
  out.nll = m.log_sum - model[target];
  if (base == nullptr) return out;
  const Row b = reduce(base, vocab);
  out.base_nll = b.log_sum - base[target];
  out.agree = m.best == b.best;
  double kl = 0;
  for (std::int64_t v = 0; v < vocab; ++v) {
    const double log_p = base[v] - b.log_sum;
    kl += std::exp(log_p) * (log_p - (model[v] - m.log_sum));
  }
  out.kl = std::max(kl, 0.0);  // exact value is never negative; rounding may be
  return out;
}

/// Sums over all windows, in their order.
class Totals {
 public:
  void add_window(std::span<const TokenScore> tokens) {
    double delta = 0;
    for (const TokenScore& t : tokens) {
      nll_ += t.nll;
      base_nll_ += t.base_nll;
      kl_.push_back(t.kl);
      agreed_ += t.agree ? 1 : 0;
      delta += t.nll - t.base_nll;
    }
    deltas_.push_back({delta, static_cast<double>(tokens.size())});
  }

  Scores finish(bool compared) {
    Scores out;
    out.tokens = static_cast<std::int64_t>(kl_.size());
    const double n = static_cast<double>(kl_.size());
    out.nll = nll_ / n;
    if (!std::isfinite(out.nll)) fail(ErrorCode::kCorruptFile, "the model gives no finite probabilities on this text");
    if (!compared) return out;
    out.base_nll = base_nll_ / n;
    double sum = 0;
    for (const double kl : kl_) sum += kl;
    out.kl_mean = sum / n;
    std::sort(kl_.begin(), kl_.end());
    out.kl_p99 = kl_[static_cast<std::size_t>(0.99 * (n - 1))];
    out.top1_agreement = static_cast<double>(agreed_) / n;
    out.delta_nll_mean = out.nll - out.base_nll;
    // Ratio estimator: windows are the independent units, weighted by their tokens.
    double squares = 0;
    for (const auto& [delta, tokens] : deltas_) {
      const double residual = delta - out.delta_nll_mean * tokens;
      squares += residual * residual;
    }
    const double count = static_cast<double>(deltas_.size());
    out.delta_nll_stderr = count > 1 ? std::sqrt(squares * count / (count - 1)) / n : 0;
    return out;
  }

 private:
  double nll_ = 0, base_nll_ = 0;
  std::int64_t agreed_ = 0;
  std::vector<double> kl_;
  std::vector<std::pair<double, double>> deltas_;
};

void score_windows(std::span<const std::vector<std::int32_t>> windows, Stream& model, Stream* base, std::int64_t vocab,
                   Totals& totals) {
  std::int64_t row = 0;
  for (const auto& window : windows) {
    const auto predicted = static_cast<std::int64_t>(window.size()) - 1;
    std::vector<TokenScore> tokens(static_cast<std::size_t>(predicted));
    for (std::int64_t begin = 0; begin < predicted; begin += kHeadChunk) {
      stop_flag().throw_if_requested();
      const std::int64_t count = std::min(kHeadChunk, predicted - begin);
      const float* m = model.logits(row + begin, count);
      const float* b = base != nullptr ? base->logits(row + begin, count) : nullptr;
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < count; ++i) {
        tokens[static_cast<std::size_t>(begin + i)] = score(m + i * vocab, b != nullptr ? b + i * vocab : nullptr,
                                                            vocab, window[static_cast<std::size_t>(begin + i + 1)]);
      }
    }
    totals.add_window(tokens);
    row += predicted + 1;
  }
}

}  // namespace

Scores compare(const model::WeightSource& model, const model::WeightSource* base, const Windows& windows,
               const CompareOptions& options) {
  const model::ModelConfig& config = model.config();
  if (base != nullptr && base->config().vocab_size != config.vocab_size) {
    fail(ErrorCode::kInvalidArgument, "the models cannot be compared: vocab_size is {} and {}", config.vocab_size,
         base->config().vocab_size);
  }
  const auto row_bytes = static_cast<std::uint64_t>(config.hidden_size) * sizeof(float) * (base != nullptr ? 2 : 1);
  Totals totals;
  // Turns are counted first, so that progress has a total.
  std::vector<std::pair<std::size_t, std::size_t>> turns;
  for (std::size_t begin = 0; begin < windows.size();) {
    std::uint64_t bytes = 0;
    std::size_t end = begin;
    while (end < windows.size() && (end == begin || bytes + windows[end].size() * row_bytes <= options.hidden_bytes)) {
      bytes += windows[end++].size() * row_bytes;
    }
    turns.emplace_back(begin, end);
    begin = end;
  }
  const std::int64_t base_layers = base != nullptr ? base->config().num_hidden_layers : 0;
  const std::int64_t per_turn = std::max(config.num_hidden_layers, base_layers) + 1;
  std::int64_t done = 0;
  const auto advance = [&] {
    ++done;
    if (options.on_progress) options.on_progress(done, per_turn * static_cast<std::int64_t>(turns.size()));
  };
  for (const auto& [begin, end] : turns) {
    const std::span<const std::vector<std::int32_t>> part(windows.data() + begin, end - begin);
    Stream model_stream(model, part, options.precision);
    std::optional<Stream> base_stream;
    if (base != nullptr) base_stream.emplace(*base, part, options.precision);
    for (std::int64_t layer = 0; layer < per_turn - 1; ++layer) {
      if (layer < config.num_hidden_layers) model_stream.run_layer(layer);
      if (layer < base_layers) base_stream->run_layer(layer);
      advance();
    }
    model_stream.prepare_head();
    if (base_stream) base_stream->prepare_head();
    score_windows(part, model_stream, base_stream ? &*base_stream : nullptr, config.vocab_size, totals);
    advance();
  }
  return totals.finish(base != nullptr);
}

}  // namespace awq::eval
