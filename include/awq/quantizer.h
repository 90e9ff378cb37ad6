#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace awq {

/// Where long work stands; called from the working thread a few times per second at most.
struct Progress {
  std::string stage;      ///< "calibrate", "layer", "measure"
  std::int64_t done = 0;  ///< units of `total` that are finished
  std::int64_t total = 0;
  double seconds_left = -1;  ///< estimate, negative when unknown
  std::string detail;        ///< one short remark, such as the last layer's loss
};
using ProgressCallback = std::function<void(const Progress&)>;
using WarningCallback = std::function<void(const std::string&)>;

struct QuantizeOptions {
  std::filesystem::path model;   ///< folder to read
  std::filesystem::path output;  ///< folder to make
  std::string method = "awq";    ///< "awq", "gptq", "rtn" (plain rounding), "fp8" (E4M3 weights)
  /// How "awq" searches: "best"; "fast" (scales and ranges on the original activations, codes rounded); "paper" (what
  /// AutoAWQ does, defects included: a yardstick)
  std::string recipe = "best";
  int bits = 4;
  std::int64_t group_size = 128;  ///< 32, 64, 128, or -1 for one group per row
  bool symmetric = false;
  int embed_bits = 16;  ///< 16: the embedding stays as it is; 8: rounded, in formats that can hold it
  int head_bits = 16;   ///< the same of the head; both alike where one tensor serves as both
  /// Above 0: linears that lose most get 8 bits instead of `bits`, as many as fit into files of at most this many bits
  /// for each parameter of the model, embedding, head, scales and headers included.
  double target_bpw = 0;
  std::string format;                 ///< "awq" (gemm layout), "compressed-tensors", "fp8"; empty: as the method has it
  std::filesystem::path calibration;  ///< .txt or .jsonl; empty: the text that comes with the program
  std::int64_t calibration_samples = 128;  ///< blocks
  std::int64_t calibration_seqlen = 512;   ///< tokens per block, at most the model's context
  std::vector<std::string> skip;           ///< shell patterns of linears that stay in 16 bit
  bool search_ranges = true;               ///< false: --no-clip
  std::uint64_t seed = 0;                  ///< chooses blocks when there are more than calibration_samples
  bool dry_run = false;
  bool resume = false;
  /// Lets `resume` go on with what another device began, or other threads or instructions: the layers so far stay as
  /// they are, and what comes is not what one device alone would have made.
  bool allow_device_change = false;
  bool force = false;    ///< replace an earlier output of this program; never anything else
  bool evaluate = true;  ///< measure perplexity and KL on a held-out tenth of the text
  std::uint64_t max_shard_bytes = 5'000'000'000;
  int threads = 0;  ///< 0: all that the process may use
  /// "cpu", "cuda", "cuda:N" or "auto". On a device layers are calibrated and searched there, one at a time; with a dry
  /// run it need not be there. Methods that only round and the recipe "paper" run on the processor only.
  std::string device = "cpu";
  ProgressCallback on_progress;
  WarningCallback on_warning;
  std::function<void(const std::string&)> on_plan;  ///< lines of the plan, before the work starts
};

struct QuantizeSummary {
  bool dry_run = false;
  bool already_complete = false;  ///< --resume found finished work
  std::string method, format;
  int bits = 0;
  std::int64_t group_size = 0;
  std::int64_t layers = 0;
  std::int64_t quantized_linears = 0;
  std::vector<std::string>
      wide_linears;  ///< those that got 8 bits for target_bpw; in a dry run a guess of their number
  std::vector<std::string> unquantized_linears;
  double seconds = 0;
  std::uint64_t planned_peak_bytes = 0;
  std::uint64_t planned_disk_bytes = 0;    ///< of everything in the output and beside it while the run lasts
  std::uint64_t planned_device_bytes = 0;  ///< memory of the device; 0 without one
  std::uint64_t peak_rss_bytes = 0;
  std::uint64_t peak_device_bytes = 0;
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;  ///< of the weight files
  double bits_per_weight = 0;
  double linear_bits_per_weight = 0;
  bool evaluated = false;
  std::int64_t eval_tokens = 0;
  double perplexity = 0;
  double base_perplexity = 0;
  double kl_mean = 0;
};

/// Reads options.model, quantizes it and publishes options.output. Throws awq::Error; whatever happens, no incomplete
/// folder carries the output's name, and work that was done waits in "OUTPUT.awq-partial" for options.resume.
QuantizeSummary quantize_model(const QuantizeOptions& options);

}  // namespace awq
