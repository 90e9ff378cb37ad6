#include "awq/comparer.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "api/comparison_methods.h"
#include "api/setup.h"
#include "awq/generator.h"
#include "base/check.h"
#include "base/cpu_features.h"
#include "base/resources.h"
#include "base/stop.h"
#include "eval/compare.h"
#include "eval/layer_probe.h"
#include "eval/windows.h"
#include "quantize/gguf_model.h"
#include "quantize/quantize_run.h"
#include "report/comparison_page.h"

namespace awq {
namespace {

// Tokens that errors of single layers are measured on: errors are means over tokens times channels.
constexpr std::int64_t kProbeTokens = 2048;
constexpr std::int64_t kSpeedPrompt = 256;
constexpr std::int64_t kSpeedTokens = 64;

/// A folder of our own that goes away with its contents.
class WorkFolder {
 public:
  explicit WorkFolder(const std::filesystem::path& parent) {
    std::string name = (parent / "awq-compare-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      fail(ErrorCode::kIo, "{}: no folder can be made in it; choose another with --work", parent.string());
    }
    path_ = name;
  }
  ~WorkFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A method while it is measured: its model, and where that model lies.
struct Candidate {
  api::MethodRow row;
  ComparedMethod result;
  std::filesystem::path folder;  ///< empty for methods in memory
  std::unique_ptr<model::WeightSource> source;
  const model::ModelFiles* files = nullptr;  ///< `source`, when it is a file
};

std::string name_of(const std::filesystem::path& path) {
  std::filesystem::path normal = std::filesystem::absolute(path).lexically_normal();
  if (normal.filename().empty()) normal = normal.parent_path();
  return normal.filename().string();
}

const char* site_name(model::Site site) {
  switch (site) {
    case model::Site::kAttentionInput:
      return "attention input";
    case model::Site::kAttentionOutput:
      return "attention output";
    case model::Site::kMlpInput:
      return "MLP input";
    case model::Site::kMlpProduct:
      return "MLP product";
  }
  return "";
}

class ComparisonRun {
 public:
  ComparisonRun(const ComparisonOptions& options, int threads)
      : options_(options),
        threads_(threads),
        begin_(monotonic_seconds()),
        files_(model::ModelFiles::open(options.model)),
        work_(options.work.empty() ? std::filesystem::temp_directory_path() : options.work) {
    for (const api::MethodRow& row : api::select_methods(options.methods)) {
      Candidate& c = candidates_.emplace_back();
      c.row = row;
      c.result.name = row.name;
      c.result.summary = row.summary;
    }
  }

  Comparison execute() {
    read_text();
    for (Candidate& candidate : candidates_) {
      stop_flag().throw_if_requested();
      progress("quantize", steps_done_++, static_cast<std::int64_t>(candidates_.size()), candidate.row.name);
      prepare(candidate);
    }
    measure_loss();
    measure_layers();
    count_codes();
    if (options_.measure_speed) measure_speed();
    return finish();
  }

 private:
  void progress(const char* stage, std::int64_t done, std::int64_t total, const std::string& detail = "") const {
    if (options_.on_progress) options_.on_progress({.stage = stage, .done = done, .total = total, .detail = detail});
  }
  void warn(const std::string& text) const {
    if (options_.on_warning) options_.on_warning(text);
  }

  void read_text() {
    const auto tokenizer = text::Tokenizer::load(options_.model);
    const std::int64_t context = std::min(options_.context, files_.config().max_position_embeddings);
    windows_ = eval::make_windows(text::read_documents(options_.text), *tokenizer, context, options_.max_tokens,
                                  files_.config().vocab_size);
  }

  /// Quantizes with one method. What this model cannot have is the method's result; what cannot be done at all ends
  /// the work.
  void prepare(Candidate& c) {
    const double begin = monotonic_seconds();
    const bool peak_known = reset_peak_rss();
    try {
      if (c.row.apply == nullptr) {
        prepare_gguf(c);
      } else {
        prepare_file(c);
      }
      c.result.bits_per_weight =
          8 * static_cast<double>(c.result.file_bytes) / static_cast<double>(files_.parameter_count());
    } catch (const Error& error) {
      // Without the note that says how a quantization that was stopped goes on: this one's folder is gone.
      if (error.code() == ErrorCode::kInterrupted)
        throw Error(error.code(), error.message()).set_signal(error.signal());
      if (error.code() != ErrorCode::kUnsupported && error.code() != ErrorCode::kInvalidArgument) throw;
      if (first_refusal_.message().empty()) first_refusal_ = error;
      c.result.skipped = error.what();
      c.source = nullptr;
      return;
    }
    c.result.quantize_seconds = monotonic_seconds() - begin;
    if (peak_known) c.result.peak_rss_bytes = peak_rss_bytes();
  }

  void prepare_file(Candidate& c) {
    QuantizeOptions q;
    q.model = options_.model;
    q.output = work_.path() / c.row.name;
    q.bits = options_.bits;
    q.group_size = options_.group_size;
    if (options_.bits != 4) q.format = "compressed-tensors";
    q.calibration = options_.calibration;
    q.evaluate = false;
    q.threads = threads_;
    q.on_warning = options_.on_warning;
    c.row.apply(q);
    // Formats of floating point weights have bits and groups of their own.
    if (q.method == "fp8") q.bits = 8;
    if (q.method == "fp8" && q.format == "compressed-tensors") q.format = "";
    const QuantizeSummary summary = quantize::run(q);
    c.folder = q.output;
    c.result.is_file = true;
    c.result.file_bytes = summary.output_bytes;
    auto files = std::make_unique<model::ModelFiles>(model::ModelFiles::open(q.output));
    c.files = files.get();
    c.source = std::move(files);
  }

  /// Rounds every tensor once, for its time and memory; the measurements do it again as they need the weights.
  void prepare_gguf(Candidate& c) {
    auto model = std::make_unique<quantize::GgufModel>(files_, *quantize::find_gguf_recipe(c.row.name));
    for (std::int64_t layer = 0; layer < files_.config().num_hidden_layers; ++layer) {
      stop_flag().throw_if_requested();
      model->load_layer(layer);
    }
    model->load_head();
    model->load_embedding();
    c.result.file_bytes = model->mixture().tensor_bytes();
    c.source = std::move(model);
  }

  void measure_loss() {
    std::vector<const model::WeightSource*> sources;
    std::vector<ComparedMethod*> results;
    for (Candidate& c : candidates_) {
      if (c.source == nullptr) continue;
      sources.push_back(c.source.get());
      results.push_back(&c.result);
    }
    if (sources.empty()) fail(first_refusal_.code(), "no method can quantize this model: {}", first_refusal_.what());
    eval::CompareOptions compare;
    compare.on_progress = [&](std::int64_t done, std::int64_t total) { progress("measure", done, total); };
    const std::vector<eval::Scores> scores = eval::compare_all(sources, &files_, windows_, compare);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const eval::Scores& s = scores[i];
      ComparedMethod& r = *results[i];
      r.perplexity = std::exp(s.nll);
      r.kl_mean = s.kl_mean;
      r.kl_stderr = s.kl_stderr;
      r.kl_p99 = s.kl_p99;
      r.top1_agreement = s.top1_agreement;
      r.delta_nll_mean = s.delta_nll_mean;
      r.delta_nll_stderr = s.delta_nll_stderr;
    }
    out_.tokens = scores.front().tokens;
    out_.base.perplexity = std::exp(scores.front().base_nll);
  }

  void measure_layers() {
    // The same text again, as much of it as is enough.
    eval::Windows sample;
    std::int64_t left = kProbeTokens;
    for (const auto& window : windows_) {
      if (left < 2) break;
      const auto count = std::min<std::int64_t>(left, static_cast<std::int64_t>(window.size()));
      sample.emplace_back(window.begin(), window.begin() + count);
      left -= count;
    }
    std::vector<const model::WeightSource*> sources;
    std::vector<ComparedMethod*> results;
    const model::WeightSource* scaled = nullptr;
    for (Candidate& c : candidates_) {
      if (c.source == nullptr) continue;
      sources.push_back(c.source.get());
      results.push_back(&c.result);
      if (std::string_view(c.row.name) == "awq") {
        scaled = c.source.get();
        out_.channels.method = c.row.name;
      }
    }
    progress("layers", 0, 1);
    const eval::LayerProbe probe = eval::probe_layers(sources, files_, sample, scaled);
    for (std::size_t m = 0; m < results.size(); ++m) {
      for (const eval::LayerError& e : probe.errors[m]) {
        results[m]->layers.push_back({.attention = e.attention, .mlp = e.mlp, .accumulated = e.accumulated});
      }
    }
    choose_channels(probe);
  }

  /// The place where the largest channel stands out most from the middle one.
  void choose_channels(const eval::LayerProbe& probe) {
    double best = 0;
    std::size_t best_site = 0;
    for (std::size_t layer = 0; layer < probe.base.size(); ++layer) {
      for (std::size_t site = 0; site < model::kSites; ++site) {
        std::vector<float> sorted = probe.base[layer][site];
        if (sorted.empty()) continue;
        std::sort(sorted.begin(), sorted.end());
        const double middle = sorted[sorted.size() / 2];
        const double unevenness = middle > 0 ? sorted.back() / middle : 0;
        if (unevenness <= best) continue;
        best = unevenness;
        best_site = site;
        out_.channels.layer = static_cast<std::int64_t>(layer);
      }
    }
    if (out_.channels.layer < 0) return;
    const auto layer = static_cast<std::size_t>(out_.channels.layer);
    out_.channels.site = site_name(static_cast<model::Site>(best_site));
    const std::vector<float>& before = probe.base[layer][best_site];
    std::vector<std::size_t> order(before.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return before[a] > before[b]; });
    for (const std::size_t i : order) out_.channels.before.push_back(before[i]);
    if (probe.profiled.empty()) return;
    const std::vector<float>& after = probe.profiled[layer][best_site];
    for (const std::size_t i : order) out_.channels.after.push_back(after[i]);
  }

  /// Codes and steps of the first linear that reads the most uneven place.
  void count_codes() {
    if (out_.channels.layer < 0) return;
    const model::LinearSpec* spec = nullptr;
    for (const model::LinearSpec& linear : files_.architecture().linears) {
      if (spec == nullptr && site_name(linear.input) == out_.channels.site) spec = &linear;
    }
    if (spec == nullptr) return;
    out_.linear = files_.linear_name(out_.channels.layer, *spec);
    for (const Candidate& c : candidates_) {
      if (c.files == nullptr) continue;
      const model::LayerWeights weights = c.files->load_layer(out_.channels.layer);
      const auto& tensor = weights[spec->role].quantized;
      if (!tensor || tensor->scheme.kind != quant::CodeKind::kInteger) continue;
      CodeStatistics& s = out_.codes.emplace_back();
      s.method = c.row.name;
      s.code_share.resize(std::size_t{1} << tensor->scheme.bits);
      for (const std::uint8_t code : tensor->codes) s.code_share[code] += 1;
      for (double& share : s.code_share) share /= static_cast<double>(tensor->codes.size());
      s.steps.assign(tensor->scales.begin(), tensor->scales.end());
      std::sort(s.steps.begin(), s.steps.end());
    }
  }

  void measure_speed() {
    std::vector<std::int32_t> prompt = windows_.front();
    while (static_cast<std::int64_t>(prompt.size()) < kSpeedPrompt) {
      prompt.insert(prompt.end(), windows_.front().begin(), windows_.front().end());
    }
    const std::int64_t room = files_.config().max_position_embeddings - kSpeedTokens;
    prompt.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(room, 1, kSpeedPrompt)));
    const auto run = [&](const std::filesystem::path& folder, ComparedMethod& result) {
      GenerateOptions g;
      g.model = folder;
      g.prompt_ids = prompt;
      g.max_tokens = kSpeedTokens;
      g.ignore_eos = true;
      g.threads = threads_;
      try {
        const GenerateSummary s = generate_text(g);
        result.prefill_tokens_per_s = s.prefill_tokens_per_s;
        result.decode_tokens_per_s = s.decode_tokens_per_s;
      } catch (const Error& error) {
        // Everything else streams layer by layer: what is measured stays worth having.
        if (error.code() != ErrorCode::kOutOfMemory) throw;
        warn(fmt::format("no speed of {}: {}", folder.filename().string(), error.what()));
      }
    };
    std::int64_t done = 0;
    const auto total = static_cast<std::int64_t>(candidates_.size()) + 1;
    progress("speed", done++, total, "original");
    run(options_.model, out_.base);
    for (Candidate& c : candidates_) {
      stop_flag().throw_if_requested();
      progress("speed", done++, total, c.row.name);
      if (!c.folder.empty() && c.source != nullptr) run(c.folder, c.result);
    }
  }

  Comparison finish() {
    out_.model_name = name_of(options_.model);
    out_.text_name = options_.text.filename().string();
    out_.calibration_name =
        options_.calibration.empty() ? "the built-in text" : options_.calibration.filename().string();
    out_.machine = fmt::format("{}, {} thread{}", isa_name(active_isa()), threads_, threads_ == 1 ? "" : "s");
    out_.windows = static_cast<std::int64_t>(windows_.size());
    out_.parameters = files_.parameter_count();
    out_.base.name = "original";
    out_.base.summary = "the model as it is";
    out_.base.is_file = true;
    out_.base.file_bytes = files_.checkpoint().total_bytes();
    out_.base.bits_per_weight =
        8 * static_cast<double>(out_.base.file_bytes) / static_cast<double>(files_.parameter_count());
    for (Candidate& c : candidates_) {
      if (!c.result.skipped.empty()) warn(fmt::format("{}: {}", c.result.name, c.result.skipped));
      out_.methods.push_back(std::move(c.result));
    }
    out_.seconds = monotonic_seconds() - begin_;
    return std::move(out_);
  }

  const ComparisonOptions& options_;
  int threads_;
  double begin_;
  model::ModelFiles files_;
  WorkFolder work_;
  eval::Windows windows_;
  std::vector<Candidate> candidates_;
  Error first_refusal_{ErrorCode::kUnsupported, ""};
  std::int64_t steps_done_ = 0;
  Comparison out_;
};

}  // namespace

std::vector<ComparisonMethod> comparison_methods() {
  std::vector<ComparisonMethod> out;
  for (const api::MethodRow& row : api::method_rows()) out.push_back({row.name, row.summary});
  return out;
}

Comparison compare_methods(const ComparisonOptions& options) {
  const int threads = api::set_up_threads(options.threads);
  if (options.text.empty()) fail(ErrorCode::kInvalidArgument, "--text is missing: name a text to measure the loss on");
  if (options.context < 2) fail(ErrorCode::kInvalidArgument, "--ctx {}: expected at least 2", options.context);
  if (options.max_tokens < 0)
    fail(ErrorCode::kInvalidArgument, "--max-tokens {}: expected 0 (all) or more", options.max_tokens);
  return ComparisonRun(options, threads).execute();
}

std::string comparison_html(const Comparison& comparison) { return report::comparison_page(comparison); }

std::string quantization_html(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "awq_report.json";
  const file::Json report = file::read_json_file(path);
  file::Json run;
  if (std::filesystem::exists(folder / "awq_run.json")) run = file::read_json_file(folder / "awq_run.json");
  return report::quantization_page(report, run, name_of(folder), path.string());
}

}  // namespace awq
