#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/stop.h"
#include "eval/divergence.h"
#include "eval/layer_stream.h"

namespace awq::eval {
namespace {

/// What one predicted token adds.
struct TokenScore {
  double nll = 0, base_nll = 0, kl = 0;
  bool agree = false;
};

/// `base_row` is that of `base`, when there is one.
TokenScore score(const float* model, const float* base, const LogitRow& base_row, std::int64_t vocab,
                 std::int32_t target) {
  TokenScore out;
  const LogitRow m = reduce_row(model, vocab);
  out.nll = m.log_sum - model[target];
  if (base == nullptr) return out;
  out.base_nll = base_row.log_sum - base[target];
  out.agree = m.best == base_row.best;
  out.kl = kl_divergence(base, base_row, model, m, vocab);
  return out;
}

/// A sum over tokens, and how far its mean may be off: windows are the independent units, weighted by their tokens
/// (ratio estimator).
class WindowedMean {
 public:
  void add(double sum, double tokens) { windows_.emplace_back(sum, tokens); }
  double mean() const {
    double sum = 0, tokens = 0;
    for (const auto& [s, t] : windows_) {
      sum += s;
      tokens += t;
    }
    return sum / tokens;
  }
  double standard_error() const {
    const double center = mean();
    double squares = 0, tokens = 0;
    for (const auto& [s, t] : windows_) {
      const double residual = s - center * t;
      squares += residual * residual;
      tokens += t;
    }
    const double count = static_cast<double>(windows_.size());
    return count > 1 ? std::sqrt(squares * count / (count - 1)) / tokens : 0;
  }

 private:
  std::vector<std::pair<double, double>> windows_;
};

/// Sums over all windows, in their order.
class Totals {
 public:
  void add_window(std::span<const TokenScore> tokens) {
    double delta = 0;
    double kl = 0;
    for (const TokenScore& t : tokens) {
      nll_ += t.nll;
      base_nll_ += t.base_nll;
      kl_.push_back(t.kl);
      agreed_ += t.agree ? 1 : 0;
      delta += t.nll - t.base_nll;
      kl += t.kl;
    }
    delta_windows_.add(delta, static_cast<double>(tokens.size()));
    kl_windows_.add(kl, static_cast<double>(tokens.size()));
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
    out.kl_stderr = kl_windows_.standard_error();
    out.delta_nll_mean = out.nll - out.base_nll;
    out.delta_nll_stderr = delta_windows_.standard_error();
    return out;
  }

 private:
  double nll_ = 0, base_nll_ = 0;
  std::int64_t agreed_ = 0;
  std::vector<double> kl_;
  WindowedMean delta_windows_, kl_windows_;
};

/// Scores the tokens of one window. `logits(model, begin, count)` gives rows of the window, those of the base for
/// model -1; at most `most_rows` at a time. `models[i]` adds to `totals[i]`.
template <typename Logits>
void score_window(const std::vector<std::int32_t>& window, std::int64_t most_rows, bool has_base, std::int64_t vocab,
                  std::span<Totals> totals, Logits logits) {
  std::vector<LogitRow> base_rows(static_cast<std::size_t>(most_rows));
  const auto predicted = static_cast<std::int64_t>(window.size()) - 1;
  std::vector<std::vector<TokenScore>> tokens(totals.size());
  for (auto& scores : tokens) scores.resize(static_cast<std::size_t>(predicted));
  for (std::int64_t begin = 0; begin < predicted; begin += most_rows) {
    stop_flag().throw_if_requested();
    const std::int64_t count = std::min(most_rows, predicted - begin);
    const float* b = has_base ? logits(-1, begin, count) : nullptr;
    if (b != nullptr) reduce_rows(b, count, vocab, base_rows.data());
    for (std::size_t model = 0; model < totals.size(); ++model) {
      const float* m = logits(static_cast<int>(model), begin, count);
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < count; ++i) {
        tokens[model][static_cast<std::size_t>(begin + i)] =
            score(m + i * vocab, b != nullptr ? b + i * vocab : nullptr, base_rows[static_cast<std::size_t>(i)], vocab,
                  window[static_cast<std::size_t>(begin + i + 1)]);
      }
    }
  }
  for (std::size_t model = 0; model < totals.size(); ++model) totals[model].add_window(tokens[model]);
}

void score_windows(std::span<const std::vector<std::int32_t>> windows, std::span<LayerStream> models, LayerStream* base,
                   std::int64_t vocab, std::span<Totals> totals) {
  std::int64_t row = 0;
  for (const auto& window : windows) {
    score_window(window, LayerStream::kHeadRows, base != nullptr, vocab, totals,
                 [&](int model, std::int64_t begin, std::int64_t count) {
                   LayerStream& stream = model < 0 ? *base : models[static_cast<std::size_t>(model)];
                   return stream.logits(row + begin, count);
                 });
    row += static_cast<std::int64_t>(window.size());
  }
}

void require_same_vocabulary(std::int64_t a, std::int64_t b) {
  if (a != b) fail(ErrorCode::kInvalidArgument, "the models cannot be compared: vocab_size is {} and {}", a, b);
}

}  // namespace

std::vector<Scores> compare_all(std::span<const model::WeightSource* const> models, const model::WeightSource* base,
                                const Windows& windows, const CompareOptions& options) {
  AWQ_CHECK(!models.empty());
  const model::ModelConfig& config = models.front()->config();
  std::int64_t layers = base != nullptr ? base->config().num_hidden_layers : 0;
  for (const model::WeightSource* model : models) {
    layers = std::max(layers, model->config().num_hidden_layers);
    const std::int64_t other = base != nullptr ? base->config().vocab_size : config.vocab_size;
    require_same_vocabulary(model->config().vocab_size, other);
  }
  const auto row_bytes =
      static_cast<std::uint64_t>(config.hidden_size) * sizeof(float) * (models.size() + (base != nullptr ? 1 : 0));
  std::vector<Totals> totals(models.size());
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
  const std::int64_t per_turn = layers + 1;
  std::int64_t done = 0;
  const auto advance = [&] {
    ++done;
    if (options.on_progress) options.on_progress(done, per_turn * static_cast<std::int64_t>(turns.size()));
  };
  for (const auto& [begin, end] : turns) {
    const std::span<const std::vector<std::int32_t>> part(windows.data() + begin, end - begin);
    std::vector<LayerStream> streams;
    for (const model::WeightSource* model : models) streams.emplace_back(*model, part, options.precision);
    std::optional<LayerStream> base_stream;
    if (base != nullptr) base_stream.emplace(*base, part, options.precision);
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      for (std::size_t i = 0; i < streams.size(); ++i) {
        if (layer < models[i]->config().num_hidden_layers) streams[i].run_layer(layer);
      }
      if (base_stream && layer < base->config().num_hidden_layers) base_stream->run_layer(layer);
      advance();
    }
    for (LayerStream& stream : streams) stream.prepare_head();
    if (base_stream) base_stream->prepare_head();
    score_windows(part, streams, base_stream ? &*base_stream : nullptr, config.vocab_size, totals);
    advance();
  }
  std::vector<Scores> out;
  out.reserve(totals.size());
  for (Totals& total : totals) out.push_back(total.finish(base != nullptr));
  return out;
}

Scores compare_resident(ResidentModel& model, ResidentModel* base, const Windows& windows,
                        const CompareOptions& options) {
  if (base != nullptr) require_same_vocabulary(model.config().vocab_size, base->config().vocab_size);
  const std::int64_t most = base != nullptr ? std::min(model.most_rows(), base->most_rows()) : model.most_rows();
  Totals totals;
  std::int64_t done = 0;
  for (const auto& window : windows) {
    model.run(window);
    if (base != nullptr) base->run(window);
    score_window(window, most, base != nullptr, model.config().vocab_size, {&totals, 1},
                 [&](int which, std::int64_t begin, std::int64_t count) {
                   return (which < 0 ? *base : model).logits(begin, count);
                 });
    if (options.on_progress) options.on_progress(++done, static_cast<std::int64_t>(windows.size()));
  }
  return totals.finish(base != nullptr);
}

Scores compare(const model::WeightSource& model, const model::WeightSource* base, const Windows& windows,
               const CompareOptions& options) {
  const model::WeightSource* const models[] = {&model};
  return compare_all(models, base, windows, options).front();
}

}  // namespace awq::eval
