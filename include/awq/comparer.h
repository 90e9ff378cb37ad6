#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "awq/quantizer.h"

namespace awq {

struct ComparisonOptions {
  std::filesystem::path model;
  std::vector<std::string> methods;   ///< names of comparison_methods(); empty: all of them
  std::filesystem::path text;         ///< .txt or .jsonl that the loss is measured on
  std::filesystem::path calibration;  ///< .txt or .jsonl; empty: the text that comes with the program
  int bits = 4;                       ///< of methods that leave a choice
  std::int64_t group_size = 128;
  std::int64_t context = 2048;      ///< tokens per window, at most the model's context
  std::int64_t max_tokens = 32768;  ///< of the text, 0: all
  bool measure_speed = true;
  std::filesystem::path work;  ///< where quantized models lie while they are measured; empty: the temporary folder
  int threads = 0;
  ProgressCallback on_progress;
  WarningCallback on_warning;
};

/// One method that `awq compare` knows.
struct ComparisonMethod {
  std::string name;
  std::string summary;
};

/// What quantizing one layer costs; squared errors relative to squared sums (docs/compare.md).
struct ComparedLayer {
  double attention = 0;    ///< of the layer's output when only its attention is quantized
  double mlp = 0;          ///< of the layer's output when only its MLP is quantized
  double accumulated = 0;  ///< of the hidden state after this layer, all layers so far quantized
};

struct ComparedMethod {
  std::string name;
  std::string summary;
  std::string skipped;           ///< why there are no numbers; empty when there are
  bool is_file = false;          ///< false: rounded in memory only, so nothing can be run
  std::uint64_t file_bytes = 0;  ///< of the weights
  double bits_per_weight = 0;    ///< of the whole model
  double perplexity = 0;
  double kl_mean = 0;  ///< KL(base || method) per predicted token, in nats
  double kl_stderr = 0;
  double kl_p99 = 0;
  double top1_agreement = 0;
  double delta_nll_mean = 0;  ///< method - base
  double delta_nll_stderr = 0;
  double quantize_seconds = 0;
  std::uint64_t peak_rss_bytes = 0;  ///< while it was quantized; 0: not known
  double prefill_tokens_per_s = 0;   ///< 0: not run
  double decode_tokens_per_s = 0;
  std::vector<ComparedLayer> layers;
};

/// Mean |x| of the channels at the most uneven place of the model, before and after AWQ's scales, largest first before.
struct ChannelMagnitudes {
  std::int64_t layer = -1;  ///< -1: not measured
  std::string site;         ///< "attention input"
  std::string method;       ///< whose scales
  std::vector<float> before, after;
};

/// How one linear's codes and step sizes are spread under each method that has integer codes.
struct CodeStatistics {
  std::string method;
  std::vector<double> code_share;  ///< [2^bits] share of weights with that code
  std::vector<float> steps;        ///< scales of the groups, sorted
};

struct Comparison {
  std::string model_name;
  std::string text_name;
  std::string calibration_name;
  std::string machine;  ///< instruction set and threads
  std::int64_t tokens = 0;
  std::int64_t windows = 0;
  std::uint64_t parameters = 0;
  ComparedMethod base;  ///< the model as it is
  std::vector<ComparedMethod> methods;
  ChannelMagnitudes channels;
  std::string linear;  ///< that `codes` are of
  std::vector<CodeStatistics> codes;
  double seconds = 0;
};

/// All methods, in the order of the table.
std::vector<ComparisonMethod> comparison_methods();

/// Quantizes options.model with each method and measures what it costs. Throws awq::Error; a method that cannot do this
/// model is in the result with its reason.
Comparison compare_methods(const ComparisonOptions& options);

/// The comparison as one self-contained HTML page.
std::string comparison_html(const Comparison& comparison);

/// The report of one quantized model (a folder that quantize_model() made) as one self-contained HTML page.
std::string quantization_html(const std::filesystem::path& folder);

}  // namespace awq
