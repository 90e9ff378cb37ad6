#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace awq {

struct BenchOptions {
  std::filesystem::path model;   ///< a checkpoint, or
  std::filesystem::path config;  ///< a config.json: random weights of that shape, made in memory
  int bits = 4;                  ///< of random weights: 2 to 8, or 16 for BF16
  std::int64_t group_size = 128;
  std::string activations = "int8";  ///< inputs of quantized linears: "int8" (one scale per 32), "int15" or "f32"
  std::string head = "stored";       ///< output matrix as "stored", or rounded to "int8" at load
  std::string kv_dtype = "auto";     ///< cached keys and values, as in GenerateOptions
  std::int64_t layers = 0;           ///< run only the first layers; 0: all
  std::int64_t prompt = 512;         ///< tokens of the prefill
  std::int64_t gen = 64;             ///< tokens of the decode
  std::int64_t depth = 0;            ///< tokens in the KV cache before the first decoded one
  std::vector<std::int64_t> batches = {1, 2, 4, 8, 16, 32, 64};  ///< sequences decoded together; may be empty
  int repetitions = 3;                                           ///< medians are reported
  std::uint64_t read_bytes = 0;  ///< buffer of the bandwidth loop; 0: 1 GiB or four times the last cache
  int threads = 0;
  int threads_decode = 0;      ///< of steps of one token per sequence; 0: as many
  std::string device = "cpu";  ///< "cpu", "cuda", "cuda:N" or "auto"
  /// A command that measures another program, in turn with this one, and prints what llama-bench -o json or awq bench
  /// --json prints; empty: none. Split into words and run without a shell; {prompt}, {gen}, {depth} and {threads} in
  /// it are numbers of this run.
  std::string against;
  double against_seconds = 1800;  ///< that one run of it may take
  std::string dtype = "auto";     ///< of activations on a device: the model's ("auto"), "f16" or "bf16"
  /// 4-bit linears on a device: "exact", or "fast": many tokens by way of 16-bit weights, whose results then depend on
  /// how many there are.
  std::string cuda_linear = "exact";
  std::function<void(const std::string&)> on_stage;  ///< what is measured next
};

/// Matrix products or whole steps with `rows` tokens at a time.
struct BenchPoint {
  std::int64_t rows = 0;
  double tokens_per_s = 0;
  double bytes_per_s = 0;         ///< weights (and keys and values) read
  double bandwidth_fraction = 0;  ///< of the plain read loop, measured beside this point
  double flops = 0;               ///< multiplications and additions of the linears, per second
  double peak_fraction = 0;       ///< of matmul_peak_flops
};

struct BenchPeak {
  std::string kernel;
  std::string arithmetic;  ///< "fp32", "bf16", "int8"
  double operations_per_s = 0;
};

/// Which kernel multiplies a weight [out_features, in_features] with so many rows.
struct BenchKernel {
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  std::int64_t rows = 0;
  std::string kernel;
};

/// A test of ours beside the same one of another program; medians of the turns.
struct BenchComparison {
  std::string test;  ///< "prefill" or "decode"
  std::int64_t tokens = 0, depth = 0;
  double tokens_per_s = 0, peer_tokens_per_s = 0;
  double ratio = 0;  ///< median of the turns' own ratios, ours over theirs
};

struct BenchAgainst {
  std::string command;
  std::string name;  ///< what the other program says it ran
  int turns = 0;
  std::vector<BenchComparison> tests;
};

struct BenchSummary {
  std::string architecture;
  std::int64_t layers = 0;
  std::string weights;            ///< "4 bit, group 128, random" ..
  std::string activations, head;  ///< as in the options
  std::string kv_dtype;           ///< of the cache: "f16", "fp8" ..
  std::string instruction_set;
  std::string device;  ///< what ran the model; empty: the processor
  int threads = 0, threads_decode = 0;
  double load_seconds = 0;
  std::uint64_t peak_rss_bytes = 0;  ///< without the buffer of the bandwidth measurement

  double read_bandwidth_bytes_per_s = 0;       ///< plain sequential loop, all threads; of a device its copy, both ways
  double best_read_bandwidth_bytes_per_s = 0;  ///< the best of several streams with prefetch
  int best_read_streams = 0;
  int best_read_prefetch_bytes = 0;
  std::vector<BenchPeak> peaks;
  double matmul_peak_flops = 0;  ///< the larger of the fp32 and bf16 peaks
  std::string matmul_peak_arithmetic;

  double prefill_tokens_per_s = 0;
  double prefill_peak_fraction = 0;  ///< 2 N K of all linears per token, over matmul_peak_flops
  double prefill_page_faults_per_token = 0;
  double decode_tokens_per_s = 0;
  std::uint64_t decode_bytes_per_token = 0;
  double decode_bandwidth_fraction = 0;
  double decode_page_faults_per_token = 0;
  std::vector<BenchPoint> batch;    ///< decode steps
  std::vector<BenchPoint> linears;  ///< the linears and the head alone
  /// Of BF16 weights the same by oneDNN with inputs rounded to bf16, on processors that have such products: faster for
  /// many rows, but not what runs a model, whose rows must not depend on each other (docs/numerics.md).
  std::vector<BenchPoint> linears_bf16;
  std::vector<BenchKernel> kernels;
  BenchAgainst against;          ///< turns = 0 without BenchOptions::against
  double foreign_cpu_share = 0;  ///< processor time that other programs took meanwhile, 0 to 1
};

/// Measures this machine, then a model against it. Throws awq::Error.
BenchSummary bench_model(const BenchOptions& options);

struct KernelTiming;
struct KernelBenchSummary;

struct KernelBenchOptions {
  /// Models whose linears are timed, q, k and v as one and gate and up as one: "8b" (Llama-3-8B), "70b" (Llama-3-70B),
  /// "7b" (Qwen2.5-7B).
  std::vector<std::string> shapes = {"8b", "70b", "7b"};
  /// Tokens of a product.
  std::vector<std::int64_t> rows = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
  std::int64_t group_size = 128;
  std::string type = "f16";  ///< of activations: "f16" or "bf16"
  bool all = false;          ///< every kernel that can run, not only the one that would
  std::string device = "cuda";
  std::function<void(const std::string&)> on_stage;          ///< what is measured next
  std::function<void(const KernelTiming&)> on_timing;        ///< each result as it is there
  std::function<void(const KernelBenchSummary&)> on_limits;  ///< once the device's limits are known
};

/// A product y = x W^T of 4-bit weights [out_features, in_features] with `rows` tokens.
struct KernelTiming {
  std::string layer;  ///< "8b gate+up"
  std::int64_t out_features = 0, in_features = 0, rows = 0;
  std::string kernel;
  bool chosen = false;        ///< what a model would run
  std::string same_bits_as;   ///< another kernel that gave the same bits; empty where no other one can run
  double error = 0;           ///< against binary64, of sampled outputs, as a part of their norm
  double seconds = 0;         ///< median
  double bytes_per_s = 0;     ///< of the packed weight
  double copy_fraction = 0;   ///< of copy_bytes_per_s
  double flops = 0;           ///< 2 N K per token and second
  double dense_fraction = 0;  ///< of dense_flops; 0 without cublasLt
  double dense_seconds = 0;   ///< of cublasLt with 16-bit weights; 0 without it
};

struct KernelBenchSummary {
  std::string device;
  double copy_bytes_per_s = 0;  ///< read and written
  double dense_flops = 0;       ///< of cublasLt, 8192 x 8192 x 8192; 0 where the library is not there
  std::vector<KernelTiming> timings;
};

/// Checks the 4-bit kernels of an NVIDIA device on the shapes of real models and times those that pass. Throws
/// awq::Error: kDevice where there is no device, kInternal where a result is wrong.
KernelBenchSummary bench_kernels(const KernelBenchOptions& options);

}  // namespace awq
