#include "quantize/quantize_run.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/resources.h"
#include "base/stop.h"
#include "eval/compare.h"
#include "eval/windows.h"
#include "file/sha256.h"
#include "quantize/bit_allocation.h"
#include "quantize/journal.h"
#include "quantize/layer_saver.h"
#include "quantize/output_writer.h"
#include "quantize/pipeline.h"
#include "quantize/plan_lines.h"
#include "quantize/report.h"
#include "quantize/resource_plan.h"
#include "quantize/run_settings.h"
#include "quantize/staging.h"

namespace awq::quantize {
namespace {

/// Tokens that quality is measured on: enough for two or three digits, little beside the quantization itself. Large
/// models get fewer, because a token costs more of them and says as much.
std::int64_t eval_tokens(std::uint64_t parameters) {
  return static_cast<std::int64_t>(std::clamp(5e12 / static_cast<double>(parameters), 2048.0, 16384.0));
}

constexpr const char* kReport = "awq_report.json";
constexpr const char* kWideLinears = "8-bit linears";  // key of the journal's first record

class Run {
 public:
  Run(const QuantizeOptions& options, const DeviceChoice* choice, const Measure& measure)
      : options_(options),
        choice_(choice),
        measure_(measure),
        begin_(monotonic_seconds()),
        files_(model::ModelFiles::open(options.model)),
        plan_(provisional_plan(files_, options)) {}

  QuantizeSummary execute() {
    summarize_plan();
    for (const std::string& pattern : options_.skip) {
      const bool used = std::any_of(plan_.linears.begin(), plan_.linears.end(), [&](const PlannedLinear& linear) {
        return fnmatch(pattern.c_str(), linear.module.c_str(), 0) == 0;
      });
      if (!used)
        warn(fmt::format("--skip {}: no linear has such a name; the first is {}", printable(pattern),
                         plan_.linears.front().module));
    }
    if (options_.dry_run) {
      announce(prepare());
      summary_.dry_run = true;
    } else if (is_done_already()) {
      remove_leftovers(options_.output);
      summary_.already_complete = true;
    } else {
      if (choice_ != nullptr) device_ = choice_->open();
      // Before the work, so that a place which cannot be written to is known at once.
      Staging staging(options_.output, options_.force);
      try {
        work(staging);
      } catch (Error& error) {
        // Nothing to go on with: then nothing is left behind either.
        const bool kept = staging.holds_finished_layers();
        if (!kept) staging.discard();
        if (kept && (error.code() == ErrorCode::kInterrupted || error.code() == ErrorCode::kIo)) {
          error.add_note("what is finished is kept: --resume goes on");
        }
        throw;
      }
    }
    return finish_summary();
  }

 private:
  void work(Staging& staging) {
    const ResourcePlan resources = prepare();
    announce(resources);
    check_resources(resources, options_.output);
    if (device_ != nullptr) check_device_memory();
    std::vector<file::OrderedJson> records = open_journal(staging);
    const bool resumed = !records.empty();
    if (options_.target_bpw > 0) choose_bits(resumed ? records.front() : file::OrderedJson());
    if (resumed && records.back().contains("publish")) return publish_finished(staging, records.back());
    Journal journal(staging.journal(), records);
    if (!resumed) journal.append(binding_);
    std::vector<file::OrderedJson> layers(resumed ? records.begin() + 1 : records.begin(), records.end());
    OutputWriter writer(staging.model(), files_, plan_, resumed);
    writer.write_ends_and_others();  // first, because damage in these tensors should not show after hours
    quantize_layers(staging, journal, writer, layers);
    writer.finish();
    writer.write_companions();
    publish(staging, journal, layers);
  }

  /// True when the output is what this run would make. Another output is in the way, unless it may be replaced.
  bool is_done_already() {
    if (!options_.resume || !is_published(options_.output)) return false;
    prepare();
    const file::Json found = file::read_json_file(options_.output / kRun).value("settings", file::Json());
    const file::OrderedJson wanted = without_means(binding_);
    for (const auto& [key, value] : wanted.items()) {
      if (found.contains(key) && found[key] == file::Json(value)) continue;
      if (options_.force) return false;
      fail(ErrorCode::kInvalidArgument,
           "{}: is complete, but was made with another {}; choose another folder, or --force to replace it",
           options_.output.string(), key);
    }
    if (options_.target_bpw > 0) choose_bits(found);  // to speak of what is there
    return true;
  }

  /// The linears that get 8 bits: those that an interrupted run chose, or the ones that losses speak for.
  void choose_bits(const file::OrderedJson& settings) {
    const OutputPlan narrow = plan_output(files_, options_);
    WideSites wide;
    if (const auto chosen = settings.find(kWideLinears); chosen != settings.end() && chosen->is_array()) {
      wide = sites_of(narrow, chosen->get<std::vector<std::string>>());
    } else {
      std::vector<WideCandidate> candidates = wide_candidates(files_, narrow);
      measure_losses(files_, narrow, blocks_, precision_, candidates);
      wide = choose_wide(candidates, wide_budget(files_, narrow, options_.target_bpw));
    }
    plan_ = plan_output(files_, options_, wide);
    binding_[kWideLinears] = plan_.wide_modules();
    summarize_plan();
    if (options_.on_plan)
      options_.on_plan(fmt::format("bits     8 in {} of {} linears, chosen by their losses",
                                   summary_.wide_linears.size(), summary_.quantized_linears));
  }

  void summarize_plan() {
    summary_.method = options_.method;
    summary_.format = plan_.codec->name;
    summary_.bits = plan_.scheme.bits;
    summary_.group_size = plan_.scheme.group_size;
    summary_.layers = files_.config().num_hidden_layers;
    summary_.quantized_linears = static_cast<std::int64_t>(plan_.quantized_modules().size());
    summary_.wide_linears = plan_.wide_modules();
    summary_.unquantized_linears.clear();
    for (const PlannedLinear& linear : plan_.linears) {
      if (!linear.kept_because.empty()) summary_.unquantized_linears.push_back(linear.module);
    }
    summary_.input_bytes = files_.checkpoint().total_bytes();
  }

  void warn(const std::string& text) const {
    if (options_.on_warning) options_.on_warning(text);
  }

  /// Reads the texts and makes the calibration blocks; after this no tokenizer is needed.
  ResourcePlan prepare() {
    precision_ = calibration_precision(files_, choice_ != nullptr);
    const bool calibrates = needs_calibration(options_);
    if (options_.calibration_samples < kMinBlocks) {
      fail(ErrorCode::kInvalidArgument, "--calib-samples {}: expected at least {}", options_.calibration_samples,
           kMinBlocks);
    }
    if (options_.calibration_seqlen < 8)
      fail(ErrorCode::kInvalidArgument, "--calib-seqlen {}: expected at least 8", options_.calibration_seqlen);
    if (calibrates || options_.evaluate) read_texts(calibrates);
    binding_ = run_settings(files_, plan_, options_, blocks_.digest, eval_digest_, device_name());
    if (choice_ != nullptr) {
      summary_.planned_device_bytes =
          choice_->planned_bytes(files_, plan_, blocks_.count, blocks_.length, precision_, options_);
    }
    return plan_resources(files_, plan_, blocks_.count, blocks_.length, precision_, options_, choice_ != nullptr);
  }

  void read_texts(bool calibrates) {
    const CalibrationText text = load_calibration_text(options_);
    const auto tokenizer = text::Tokenizer::load(files_.folder());
    const model::ModelConfig& config = files_.config();
    if (tokenizer->vocab_size() > config.vocab_size) {
      warn(fmt::format(
          "the tokenizer knows {} tokens, the model {}; an id beyond the model's is an error when it occurs",
          tokenizer->vocab_size(), config.vocab_size));
    }
    if (calibrates) {
      const std::int64_t length = std::min(options_.calibration_seqlen, config.max_position_embeddings);
      try {
        blocks_ = make_blocks(text.split.calibration, *tokenizer, options_.calibration_samples, length, options_.seed,
                              config.vocab_size);
      } catch (Error& error) {
        error.add_note(text.name);
        throw;
      }
      if (blocks_.count < options_.calibration_samples) {
        warn(fmt::format("{} gives {} blocks of {} tokens; {} were asked for", text.name, blocks_.count, length,
                         options_.calibration_samples));
      }
      calibration_ = {
          {"text", text.name}, {"blocks", blocks_.count}, {"block_length", length}, {"sha256", blocks_.digest}};
    }
    if (!options_.evaluate) return;
    if (text.split.held_out.texts.empty()) {
      warn(text.name + " is too short to hold out a tenth: the loss will not be measured");
      return;
    }
    const std::int64_t context = std::min<std::int64_t>(2048, config.max_position_embeddings);
    windows_ = eval::make_windows(text.split.held_out, *tokenizer, context, eval_tokens(files_.parameter_count()),
                                  config.vocab_size);
    eval_text_ = "the held-out tenth of " + text.name;
    file::Sha256 hash;
    for (const auto& window : windows_) hash.update(std::as_bytes(std::span(window)));
    eval_digest_ = hash.hex();
  }

  void announce(const ResourcePlan& resources) {
    summary_.planned_peak_bytes = resources.peak_bytes;
    summary_.planned_disk_bytes = resources.disk_bytes;
    if (!options_.on_plan) return;
    for (const std::string& line : plan_lines(options_, plan_, resources, summary_, blocks_, precision_))
      options_.on_plan(line);
  }

  const char* device_name() const { return choice_ != nullptr ? choice_->name() : "cpu"; }

  void check_device_memory() const {
    if (const std::uint64_t free = device_->free_bytes(); free < summary_.planned_device_bytes) {
      fail(ErrorCode::kOutOfMemory,
           "--device {}: this run needs {} of device memory, {} are free; fewer --calib-samples "
           "need less",
           choice_->name(), megabytes(summary_.planned_device_bytes), megabytes(free));
    }
  }

  /// Records of an interrupted run that this one continues; empty for a fresh start (the staging folder is then clean).
  std::vector<file::OrderedJson> open_journal(Staging& staging) {
    const bool start_over = options_.force && !options_.resume;
    std::vector<file::OrderedJson> records;
    if (!start_over) records = Journal::read(staging.journal());
    if (records.size() > 1 && !options_.resume) {
      fail(ErrorCode::kInvalidArgument,
           "{}: holds {} finished layers of an interrupted run; --resume goes on with it, --force starts over",
           staging.folder().string(), records.size() - 1);
    }
    if (!options_.resume || records.size() <= 1) {
      staging.clear();
      return {};
    }
    check_binding(records.front(), options_.allow_device_change ? without_means(binding_) : binding_);
    return records;
  }

  void quantize_layers(Staging& staging, Journal& journal, OutputWriter& writer,
                       std::vector<file::OrderedJson>& layers) {
    LayerPipeline pipeline(files_, plan_, options_, std::move(blocks_), precision_, device_.get());
    const auto count = summary_.layers;
    const auto first = static_cast<std::int64_t>(layers.size());
    if (pipeline.calibrates() && first < count) {
      if (first == 0) {
        pipeline.embed();
      } else {
        read_hidden(staging.hidden(first - 1), layers.back().value("hidden_sha256", ""), pipeline.streams());
      }
    }
    const double begin = monotonic_seconds();
    // A device leaves the processor, and the hidden states that lie there, to the layer before.
    LayerSaver saver(staging, journal, writer, layers, device_ != nullptr);
    for (std::int64_t layer = first; layer < count; ++layer) {
      stop_flag().throw_if_requested();
      report_progress("quantize", layer, count, begin, first, layers);
      LayerPipeline::Result result = pipeline.run_layer(layer);
      saver.wait();
      file::OrderedJson record = layer_to_json(layer, result.report, files_);
      if (choice_ != nullptr) record["device"] = choice_->name();
      const bool goes_on = pipeline.calibrates() && layer + 1 < count;
      if (goes_on) pipeline.fetch_hidden();
      saver.save(layer, std::move(result.weights), std::move(record),
                 goes_on ? pipeline.streams() : std::span<HiddenStates>());
    }
    saver.wait();
    report_progress("quantize", count, count, begin, first, layers);
  }

  void report_progress(const char* stage, std::int64_t done, std::int64_t total, double begin, std::int64_t first,
                       const std::vector<file::OrderedJson>& layers) const {
    if (!options_.on_progress) return;
    Progress progress{.stage = stage, .done = done, .total = total};
    if (done > first)
      progress.seconds_left =
          (monotonic_seconds() - begin) / static_cast<double>(done - first) * static_cast<double>(total - done);
    if (!layers.empty() && was_calibrated())
      progress.detail = fmt::format("error {:.2e}", layers.back().value("mean_error", 0.0));
    options_.on_progress(progress);
  }
  bool was_calibrated() const { return !calibration_.is_null(); }

  std::optional<Measurement> measure(const Staging& staging) {
    if (windows_.empty()) return std::nullopt;
    const model::ModelFiles quantized = model::ModelFiles::open(staging.model());
    eval::CompareOptions compare;
    compare.hidden_bytes = 256ULL << 20;
    compare.on_progress = [&](std::int64_t done, std::int64_t total) {
      if (options_.on_progress) options_.on_progress({.stage = "measure", .done = done, .total = total});
    };
    if (!measure_) return Measurement{eval_text_, eval::compare(quantized, &files_, windows_, compare)};
    if (device_ != nullptr) summary_.peak_device_bytes = device_->peak_bytes();
    device_.reset();  // its memory is for the models
    const MeasuredScores measured = measure_(quantized, files_, windows_, compare);
    return Measurement{eval_text_, measured.scores, measured.device};
  }

  void publish(Staging& staging, Journal& journal, std::vector<file::OrderedJson>& layers) {
    const std::optional<Measurement> measurement = measure(staging);
    for (file::OrderedJson& layer : layers) layer.erase("hidden_sha256");
    const file::OrderedJson report = report_to_json(options_, plan_, files_, calibration_, layers, measurement);
    file::write_file_atomically(staging.model() / kReport, report.dump(2) + "\n");
    file::write_file_atomically(staging.model() / "README.md",
                                model_card(options_, plan_, files_, measurement, original_card(files_)));
    if (measurement) {
      summary_.evaluated = true;
      summary_.eval_tokens = measurement->scores.tokens;
      summary_.perplexity = std::exp(measurement->scores.nll);
      summary_.base_perplexity = std::exp(measurement->scores.base_nll);
      summary_.kl_mean = measurement->scores.kl_mean;
    }
    files_.checkpoint().check_unchanged();
    write_manifest(staging.model());
    const file::OrderedJson run = {{"seconds", monotonic_seconds() - begin_},
                                   {"peak_rss_bytes", peak_rss_bytes()},
                                   {"planned_peak_bytes", summary_.planned_peak_bytes},
                                   {"threads", options_.threads},
                                   {"isa", isa_name(active_isa())},
                                   {"settings", binding_}};
    file::write_file_atomically(staging.model() / kRun, run.dump(2) + "\n");
    stop_flag().throw_if_requested();
    // From here on a resumed run only has to give the folder its name.
    journal.append({{"publish", file::sha256_file(staging.model() / kManifest)}});
    staging.publish();
  }

  static void publish_finished(Staging& staging, const file::OrderedJson& record) {
    const std::filesystem::path manifest = staging.model() / kManifest;
    if (!file::is_regular_file(manifest) || file::sha256_file(manifest) != record.value("publish", "")) {
      fail(ErrorCode::kCorruptFile, "{}: is not what the journal says was finished; remove the folder to start over",
           manifest.string());
    }
    staging.publish();
  }

  QuantizeSummary finish_summary() {
    const double parameters = static_cast<double>(files_.parameter_count());
    summary_.output_bytes = plan_.checkpoint.file_bytes;
    summary_.bits_per_weight = 8.0 * static_cast<double>(plan_.checkpoint.file_bytes) / parameters;
    double bytes = 0;
    double weights = 0;
    for (const PlannedLinear& linear : plan_.linears) {
      if (!linear.kept_because.empty()) continue;
      const auto shape = model::linear_shape(files_.config(), linear.spec->role);
      const auto n = static_cast<std::uint64_t>(shape.out_features);
      const auto k = static_cast<std::uint64_t>(shape.in_features);
      for (const auto& spec : plan_.codec->encoded_specs(linear.scheme, plan_.scale_dtype, n, k))
        bytes += static_cast<double>(spec.size_bytes());
      weights += static_cast<double>(n) * static_cast<double>(k);
    }
    summary_.linear_bits_per_weight = 8.0 * bytes / weights;
    summary_.seconds = monotonic_seconds() - begin_;
    summary_.peak_rss_bytes = peak_rss_bytes();
    if (device_ != nullptr) summary_.peak_device_bytes = device_->peak_bytes();
    return summary_;
  }

  const QuantizeOptions& options_;
  const DeviceChoice* choice_;  ///< null: the processor
  const Measure& measure_;
  std::unique_ptr<LayerDevice> device_;
  double begin_;
  model::ModelFiles files_;
  OutputPlan plan_;
  QuantizeSummary summary_;
  ops::Precision precision_ = ops::Precision::kF32;
  CalibrationBlocks blocks_;
  file::OrderedJson calibration_;
  eval::Windows windows_;
  std::string eval_text_, eval_digest_;
  file::OrderedJson binding_;
};

}  // namespace

QuantizeSummary run(const QuantizeOptions& options, const DeviceChoice* device, const Measure& measure) {
  if (!options.dry_run || !options.output.empty()) check_output_apart(options.model, options.output);
  if (device != nullptr) check_device_method(options, device->name());
  return Run(options, device, measure).execute();
}

}  // namespace awq::quantize
