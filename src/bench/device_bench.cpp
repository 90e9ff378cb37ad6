#include "bench/device_bench.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "base/check.h"
#include "base/random.h"
#include "base/resources.h"
#include "base/stop.h"
#include "bench/device_limits.h"
#include "bench/machine.h"
#include "gpu/load.h"

namespace awq::bench {
namespace {

constexpr std::uint64_t kIdSeed = 77;
constexpr std::int64_t kMostPrefillTokens = 8192;
constexpr std::int64_t kMostBatch = 256;

/// Steps of a model on the device.
class DeviceBench {
 public:
  DeviceBench(gpu::StepModel& model, const BenchOptions& options, double copy_speed, double peak)
      : model_(model), options_(options), copy_speed_(copy_speed), peak_(peak) {}

  void prefill(std::int64_t chunk, BenchSummary& out) {
    const std::vector<std::int32_t> ids = random_ids(options_.prompt, 0);
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(gpu::blocks_for(options_.prompt)));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::vector<double> seconds;
    for (int repetition = -1; repetition < options_.repetitions; ++repetition) {
      stop_flag().throw_if_requested();
      const double begin = monotonic_seconds();
      std::int64_t last = 0;
      for (std::int64_t past = 0; past < options_.prompt; past += chunk) {
        const std::int64_t count = std::min(chunk, options_.prompt - past);
        const model::SequenceSlice slice{
            .token_count = count, .past = past, .blocks = blocks, .results = past + count < options_.prompt ? 0 : 1};
        model_.run(std::span(ids).subspan(static_cast<std::size_t>(past), static_cast<std::size_t>(count)),
                   {&slice, 1});
        last = count - 1;
      }
      pick({&last, 1});
      if (repetition >= 0) seconds.push_back(monotonic_seconds() - begin);
    }
    const auto tokens = static_cast<double>(options_.prompt);
    out.prefill_tokens_per_s = tokens / median(seconds);
    const gpu::Model& model = model_.model();
    const double operations =
        model.layer_operations() * tokens - model.result_operations() * (tokens - 1) + model.head_operations();
    if (peak_ > 0) out.prefill_peak_fraction = operations / median(seconds) / peak_;
  }

  /// False when the cache is too small for so many sequences.
  bool fits(std::int64_t batch) const { return batch * table_size() <= model_.block_count(); }

  BenchPoint decode(std::int64_t batch) {
    std::vector<std::int32_t> blocks(static_cast<std::size_t>(batch * table_size()));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::vector<std::int64_t> rows(static_cast<std::size_t>(batch));
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<double> seconds;
    for (int repetition = -1; repetition < options_.repetitions; ++repetition) {  // the first one records the steps
      const double begin = monotonic_seconds();
      for (std::int64_t step = 0; step < options_.gen; ++step) {
        stop_flag().throw_if_requested();
        const std::vector<std::int32_t> ids = random_ids(batch, static_cast<std::uint64_t>(step * batch));
        slices_.clear();
        for (std::int64_t i = 0; i < batch; ++i) {
          slices_.push_back({.token_count = 1,
                             .past = options_.depth + step,
                             .blocks = std::span(blocks).subspan(static_cast<std::size_t>(i * table_size()),
                                                                 static_cast<std::size_t>(table_size()))});
        }
        model_.run(ids, slices_);
        pick(rows);
      }
      if (repetition >= 0) seconds.push_back((monotonic_seconds() - begin) / static_cast<double>(options_.gen));
    }
    const double step = median(seconds);
    const auto count = static_cast<double>(batch);
    const double operations = (model_.model().layer_operations() + model_.model().head_operations()) * count;
    const auto bytes = static_cast<double>(bytes_per_step(batch));
    return {.rows = batch,
            .tokens_per_s = count / step,
            .bytes_per_s = bytes / step,
            .bandwidth_fraction = bytes / step / copy_speed_,
            .flops = operations / step,
            .peak_fraction = peak_ > 0 ? operations / step / peak_ : 0};
  }

  /// Weights, and keys and values of the middle step.
  std::uint64_t bytes_per_step(std::int64_t batch) const {
    const std::int64_t length = options_.depth + options_.gen / 2;
    const auto layers = static_cast<std::uint64_t>(model_.model().config().num_hidden_layers);
    return model_.model().bytes_per_token() + static_cast<std::uint64_t>(batch * length) *
                                                  model_.model().kv_block_bytes() * layers /
                                                  static_cast<std::uint64_t>(kernels::kKvBlockTokens);
  }

 private:
  std::int64_t table_size() const { return gpu::blocks_for(options_.depth + options_.gen); }
  std::vector<std::int32_t> random_ids(std::int64_t count, std::uint64_t first) const {
    std::vector<std::int32_t> out;
    const auto vocab = static_cast<std::uint64_t>(model_.vocab_size());
    for (std::int64_t i = 0; i < count; ++i) {
      out.push_back(static_cast<std::int32_t>(random_bits(kIdSeed, first + static_cast<std::uint64_t>(i)) % vocab));
    }
    return out;
  }
  void pick(std::span<const std::int64_t> rows) {
    picked_.resize(rows.size());
    model_.greedy(rows, picked_);
    if (std::any_of(picked_.begin(), picked_.end(), [](std::int32_t id) { return id < 0; })) {
      fail(ErrorCode::kDevice, "the device gives logits that are not finite");
    }
  }

  gpu::StepModel& model_;
  const BenchOptions& options_;
  double copy_speed_, peak_;
  std::vector<model::SequenceSlice> slices_;
  std::vector<std::int32_t> picked_;
};

}  // namespace

void run_on_device(int device, const model::WeightSource& source, bool random, const BenchOptions& options,
                   BenchSummary& out) {
  const auto stage = [&](const std::string& text) {
    if (options.on_stage) options.on_stage(text);
  };
  const device::Properties properties = device::open(device);
  stage("measuring the device");
  out.read_bandwidth_bytes_per_s = out.best_read_bandwidth_bytes_per_s = device_copy_bandwidth();
  try {
    const bool has_bf16 = kernels::cuda::type_objection(gpu::Half::kBf16) == nullptr;
    out.matmul_peak_flops = device_product_peak(has_bf16 ? gpu::Half::kBf16 : gpu::Half::kF16);
    out.matmul_peak_arithmetic = has_bf16 ? "bf16" : "f16";
    out.peaks.push_back({"cublasLt", out.matmul_peak_arithmetic, out.matmul_peak_flops});
  } catch (const Error& error) {
    stage(fmt::format("no peak of matrix products: {}", error.what()));
  }

  stage("loading");
  const double begin = monotonic_seconds();
  std::vector<std::int64_t> batches = options.batches;
  if (batches == BenchOptions{}.batches) batches.insert(batches.end(), {128, kMostBatch});
  const std::int64_t largest = batches.empty() ? 1 : *std::max_element(batches.begin(), batches.end());
  const std::int64_t chunk = std::min(options.prompt, kMostPrefillTokens);
  const std::int64_t length = std::max(options.prompt, options.depth + options.gen);
  gpu::ModelOptions model_options = gpu::model_options(options.dtype, options.cuda_linear);
  model_options.kv_dtype = ops::parse_kv_dtype(options.kv_dtype);
  model_options.repeat_first_layer = random;
  auto model = gpu::load_step_model(source, model_options,
                                    {.max_model_len = length,
                                     .max_num_seqs = largest,
                                     .max_num_batched_tokens = std::max(chunk, largest),
                                     .memory_utilization = 0.95,
                                     .fill_memory = false,
                                     .graphs = gpu::graphs_by_environment()});
  if (model->max_model_len() < length) {
    fail(ErrorCode::kInvalidArgument, "--prompt, and --depth with --gen: expected at most the context of {}",
         model->max_model_len());
  }
  out.load_seconds = monotonic_seconds() - begin;
  out.device = gpu::describe(properties, model->model().type());
  out.kv_dtype = ops::kv_dtype_name(model->model().kv_dtype());
  out.peak_rss_bytes = peak_rss_bytes();

  DeviceBench bench(*model, options, out.read_bandwidth_bytes_per_s, out.matmul_peak_flops);
  stage("decode");
  const BenchPoint one = bench.decode(1);
  out.decode_tokens_per_s = one.tokens_per_s;
  out.decode_bytes_per_token = bench.bytes_per_step(1);
  out.decode_bandwidth_fraction = one.bandwidth_fraction;
  stage("prefill");
  bench.prefill(chunk, out);
  for (const std::int64_t batch : batches) {
    if (!bench.fits(batch)) {
      stage(fmt::format("batch {}: no room for its keys and values", batch));
      continue;
    }
    stage(fmt::format("batch {}", batch));
    out.batch.push_back(batch == 1 ? one : bench.decode(batch));
  }
}

}  // namespace awq::bench
