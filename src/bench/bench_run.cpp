#include "bench/bench_run.h"

#include <omp.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/resources.h"
#include "bench/against.h"
#include "bench/device_bench.h"
#include "bench/foreign_cpu.h"
#include "bench/model_bench.h"
#include "bench/random_weights.h"
#include "device/device.h"
#include "gpu/load.h"
#include "ops/activation_names.h"
#include "ops/kv_dtype.h"

namespace awq::bench {
namespace {

// Far beyond any machine that could run them; they keep products inside 64 bits.
constexpr std::int64_t kMostTokens = 1 << 20;
constexpr std::int64_t kMostSequences = 4096;
constexpr double kMostSeconds = 1e6;
constexpr std::uint64_t kLeastReadBytes = 1 << 16;
constexpr std::uint64_t kMostReadBytes = std::uint64_t{1} << 40;

void check_range(const char* flag, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most) {
    fail(ErrorCode::kInvalidArgument, "{} {}: expected {} to {}", flag, value, least, most);
  }
}

void check_options(const BenchOptions& o) {
  if (o.model.empty() == o.config.empty()) {
    fail(ErrorCode::kInvalidArgument, "expected either a model folder or --config FILE");
  }
  check_range("--prompt", o.prompt, 1, kMostTokens);
  check_range("--gen", o.gen, 1, kMostTokens);
  check_range("--depth", o.depth, 0, kMostTokens);
  check_range("--layers", o.layers, 0, kMostTokens);
  if (o.read_bytes != 0 && (o.read_bytes < kLeastReadBytes || o.read_bytes > kMostReadBytes)) {
    fail(ErrorCode::kInvalidArgument, "--read-bytes {}: expected {} to {}, or 0", o.read_bytes, kLeastReadBytes,
         kMostReadBytes);
  }
  ops::parse_kv_dtype(o.kv_dtype);
  check_range("--repetitions", o.repetitions, 1, 1000);
  for (const std::int64_t batch : o.batches) check_range("--batch", batch, 1, kMostSequences);
  if (!(o.against_seconds > 0 && o.against_seconds <= kMostSeconds)) {
    fail(ErrorCode::kInvalidArgument, "--against-seconds {}: expected more than 0, at most {}", o.against_seconds,
         kMostSeconds);
  }
}

bool wants_int8_head(const std::string& name) {
  if (name != "stored" && name != "int8") {
    fail(ErrorCode::kInvalidArgument, "--head {}: expected stored or int8", printable(name));
  }
  return name == "int8";
}

/// The first layers of a model.
class FirstLayers : public model::WeightSource {
 public:
  FirstLayers(const model::WeightSource& source, std::int64_t layers) : source_(source), config_(source.config()) {
    if (layers == 0) return;
    check_range("--layers", layers, 1, config_.num_hidden_layers);
    config_.num_hidden_layers = layers;
    config_.layer_window.resize(static_cast<std::size_t>(layers));
  }
  const model::ModelConfig& config() const override { return config_; }
  const model::Architecture& architecture() const override { return source_.architecture(); }
  model::LayerWeights load_layer(std::int64_t layer) const override { return source_.load_layer(layer); }
  void embed(std::span<const std::int32_t> ids, float* out) const override { source_.embed(ids, out); }
  AlignedBuffer<float> load_final_norm() const override { return source_.load_final_norm(); }
  model::LinearWeights load_head() const override { return source_.load_head(); }
  model::LinearWeights load_embedding() const override { return source_.load_embedding(); }

 private:
  const model::WeightSource& source_;
  model::ModelConfig config_;
};

std::string describe(const quant::Scheme& scheme) {
  return fmt::format("{} bit, group {}, {}", scheme.bits, scheme.group_size,
                     scheme.symmetric ? "symmetric" : "zero points");
}

std::unique_ptr<model::WeightSource> open_source(const BenchOptions& options, std::string& description) {
  if (!options.config.empty()) {
    const quant::Scheme scheme{.bits = options.bits, .group_size = options.group_size};
    description = fmt::format("{}, random", options.bits == 16 ? "BF16" : describe(scheme));
    return std::make_unique<RandomWeights>(
        model::read_config_file(options.config),
        RandomWeights::Options{.bits = options.bits, .group_size = options.group_size});
  }
  auto files = std::make_unique<model::ModelFiles>(model::ModelFiles::open(options.model));
  description =
      files->codec() != nullptr ? describe(files->quantization().scheme) : std::string(dtype_name(files->dtype()));
  return files;
}

void measure_machine(const ReadMeter& meter, BenchSummary& out) {
  out.read_bandwidth_bytes_per_s = meter.plain();
  const StreamReader best = meter.best();
  out.best_read_bandwidth_bytes_per_s = best.bytes_per_s;
  out.best_read_streams = best.streams;
  out.best_read_prefetch_bytes = best.prefetch_bytes;
  for (const Peak& peak : measure_peaks()) {
    out.peaks.push_back({peak.kernel, peak.arithmetic, peak.operations_per_s});
    if (peak.arithmetic == "int8" || peak.operations_per_s <= out.matmul_peak_flops) continue;
    out.matmul_peak_flops = peak.operations_per_s;
    out.matmul_peak_arithmetic = peak.arithmetic;
  }
}

void append(std::vector<BenchKernel>& to, std::vector<BenchKernel> rows) {
  to.insert(to.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
}

/// One repetition of a test in the sizes of another program.
double measure_test(model::LanguageModel& model, const ReadMeter& meter, const BenchOptions& options,
                    const PeerTest& test) {
  BenchOptions one = options;
  one.repetitions = 1;
  one.batches.clear();
  one.depth = test.depth;
  (test.decode ? one.gen : one.prompt) = test.tokens;
  ModelBench bench(model, meter, 0, one);
  BenchSummary result;
  if (test.decode) {
    bench.decode(result);
    return result.decode_tokens_per_s;
  }
  bench.prefill(result);
  return result.prefill_tokens_per_s;
}

}  // namespace

BenchSummary run(const BenchOptions& options) {
  check_options(options);
  const auto stage = [&](const std::string& text) {
    if (options.on_stage) options.on_stage(text);
  };
  ops::set_activation_precision(ops::parse_activation_precision(options.activations));
  BenchSummary out;
  out.instruction_set = isa_name(active_isa());
  out.threads = omp_get_max_threads();
  out.threads_decode = options.threads_decode > 0 ? options.threads_decode : out.threads;
  out.activations = options.activations;
  out.head = options.head;
  out.kv_dtype = ops::kv_dtype_name(ops::kv_dtype_of_processor(options.kv_dtype));
  const bool int8_head = wants_int8_head(options.head);
  const int device = device::parse_name(options.device);
  gpu::model_options(options.dtype, options.cuda_linear, device >= 0);  // names that are wrong
  std::optional<Against> against;
  if (!options.against.empty()) against.emplace(options);
  if (device >= 0) {
    if (against)
      fail(ErrorCode::kInvalidArgument, "--against: of the processor alone, not with --device {}", options.device);
    device::open(device);  // what is not there should show before anything is loaded
    if (int8_head) {
      fail(ErrorCode::kInvalidArgument, "--head int8: not on a device, which keeps the output matrix in 16 bits");
    }
  }
  if (against) against->first_turn();
  stage("loading");
  const double begin = monotonic_seconds();
  const std::unique_ptr<model::WeightSource> whole = open_source(options, out.weights);
  const FirstLayers source(*whole, options.layers);
  if (device >= 0) {
    out.architecture = source.config().architecture;
    out.layers = source.config().num_hidden_layers;
    out.activations = "device";
    run_on_device(device, source, !options.config.empty(), options, out);
    return out;
  }
  model::LanguageModel model(source, int8_head);
  out.load_seconds = monotonic_seconds() - begin;
  out.architecture = source.config().architecture;
  out.layers = source.config().num_hidden_layers;
  const std::uint64_t loaded_peak = peak_rss_bytes();

  stage("measuring the machine");
  const ReadMeter meter(options.read_bytes);
  measure_machine(meter, out);
  if (against) {
    out.against = against->run([&](const PeerTest& test) { return measure_test(model, meter, options, test); });
  }
  const ForeignCpuWatch watch;
  ModelBench bench(model, meter, out.matmul_peak_flops, options);
  stage("decode");
  bench.decode(out);
  stage("prefill");
  bench.prefill(out);
  std::vector<std::int64_t> rows{1};
  for (const std::int64_t batch : options.batches) {
    stage(fmt::format("batch {}", batch));
    out.batch.push_back(bench.decode_batch(batch));
    if (batch != 1) rows.push_back(batch);
  }
  if (std::find(rows.begin(), rows.end(), options.prompt) == rows.end()) rows.push_back(options.prompt);
  for (const std::int64_t m : rows) {
    stage(fmt::format("linears alone, {} rows", m));
    out.linears.push_back(bench.linears(m));
    if (bench.has_bf16_products(m)) out.linears_bf16.push_back(bench.linears(m, true));
    append(out.kernels, bench.kernels(m));
  }
  out.foreign_cpu_share = watch.share();
  const std::uint64_t peak = peak_rss_bytes();
  out.peak_rss_bytes = std::max(loaded_peak, peak - std::min(peak, meter.bytes()));
  return out;
}

}  // namespace awq::bench
