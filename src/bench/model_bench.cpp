#include "bench/model_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <numeric>

#include "base/checked_math.h"
#include "base/cpu_features.h"
#include "base/random.h"
#include "base/resources.h"
#include "base/stop.h"
#include "ops/gemm.h"
#include "ops/kernel_choice.h"

namespace awq::bench {
namespace {

constexpr std::uint64_t kIdSeed = 77;
/// Steps of the batch sweep: enough for a median that stands, short enough for 64 sequences on a slow machine.
constexpr std::int64_t kSweepSteps = 8;
/// Passes of the read loop before and after a timing.
constexpr int kReadPasses = 2;
/// Tokens of a prompt that go through the model at a time, as in `awq run` and by default in the server.
constexpr std::int64_t kPrefillChunk = 512;

double seconds_of(const auto& work) {
  const double start = monotonic_seconds();
  work();
  return monotonic_seconds() - start;
}

double page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_minflt + usage.ru_majflt);
}

template <typename Visit>
void for_each_linear(const model::LanguageModel& model, Visit visit) {
  for (const model::DecoderLayer& layer : model.layers()) {
    for (const ops::Linear& linear : layer.linears) visit(linear);
  }
  visit(model.head());
}

std::int64_t blocks_for(std::int64_t tokens) {
  return static_cast<std::int64_t>(
      ceil_div(static_cast<std::uint64_t>(tokens), static_cast<std::uint64_t>(kernels::kKvBlockTokens)));
}

double weights_of(const ops::Linear& linear) {
  return static_cast<double>(linear.out_features()) * static_cast<double>(linear.in_features());
}

}  // namespace

ModelBench::ModelBench(model::LanguageModel& model, const ReadMeter& meter, double matmul_peak,
                       const BenchOptions& options)
    : model_(model),
      meter_(meter),
      matmul_peak_(matmul_peak),
      options_(options),
      kv_dtype_(ops::kv_dtype_of_processor(options.kv_dtype)) {
  std::int64_t batch = 1;
  for (const std::int64_t b : options.batches) batch = std::max(batch, b);
  model_.set_row_invariant(true);
  model_.reserve(std::max(std::min(options.prompt, kPrefillChunk), batch), batch,
                 std::max(options.prompt, options.depth + options.gen), batch);
  model_.reserve_products(std::max(std::min(options.prompt, kPrefillChunk), batch), batch);
}

double ModelBench::read_speed() const {
  ops::enter_phase(ops::Phase::kPrefill);  // what the machine can do, whatever threads decode
  return meter_.plain(kReadPasses);
}

model::KvPool ModelBench::make_pool(std::int64_t batch, std::int64_t tokens) {
  blocks_.resize(static_cast<std::size_t>(batch * blocks_for(tokens)));
  std::iota(blocks_.begin(), blocks_.end(), 0);
  return {model_.config(), kv_dtype_, batch * blocks_for(tokens)};
}

std::span<const std::int32_t> ModelBench::blocks_of(std::int64_t sequence, std::int64_t tokens) const {
  const auto count = static_cast<std::size_t>(blocks_for(tokens));
  return std::span(blocks_).subspan(static_cast<std::size_t>(sequence) * count, count);
}

std::int32_t ModelBench::random_id(std::uint64_t i) const {
  return static_cast<std::int32_t>(random_bits(kIdSeed, i) % static_cast<std::uint64_t>(model_.config().vocab_size));
}

double ModelBench::linear_operations(std::int64_t rows, std::int64_t results) const {
  double products = weights_of(model_.head()) * static_cast<double>(results);
  for (const model::DecoderLayer& layer : model_.layers()) {
    const bool last = &layer == &model_.layers().back();
    for (std::size_t role = 0; role < model::kRoles; ++role) {
      const bool of_past =
          role == static_cast<std::size_t>(model::Role::kK) || role == static_cast<std::size_t>(model::Role::kV);
      products += weights_of(layer.linears[role]) * static_cast<double>(last && !of_past ? results : rows);
    }
  }
  return 2 * products;
}

std::uint64_t ModelBench::bytes_per_step(std::int64_t batch, std::int64_t steps) const {
  // Keys and values of the middle step.
  const std::int64_t tokens = batch * (options_.depth + steps / 2);
  const std::uint64_t block = model::KvPool::block_bytes(model_.config(), kv_dtype_);
  return model_.bytes_per_token() +
         static_cast<std::uint64_t>(tokens) * block / static_cast<std::uint64_t>(kernels::kKvBlockTokens);
}

BenchPoint ModelBench::point(std::int64_t rows, double seconds, double bytes, double fraction,
                             double operations) const {
  return {.rows = rows,
          .tokens_per_s = static_cast<double>(rows) / seconds,
          .bytes_per_s = bytes / seconds,
          .bandwidth_fraction = fraction,
          .flops = operations / seconds,
          .peak_fraction = matmul_peak_ > 0 ? operations / seconds / matmul_peak_ : 0};
}

void ModelBench::prefill(BenchSummary& out) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < options_.prompt; ++i) ids.push_back(random_id(static_cast<std::uint64_t>(i)));
  const model::KvPool pool = make_pool(1, options_.prompt);
  const auto run = [&] {
    std::int64_t last = 0;
    for (std::int64_t past = 0; past < options_.prompt; past += kPrefillChunk) {
      stop_flag().throw_if_requested();
      const std::int64_t count = std::min(kPrefillChunk, options_.prompt - past);
      const model::SequenceSlice slice{.token_count = count,
                                       .past = past,
                                       .blocks = blocks_of(0, options_.prompt),
                                       .results = past + count < options_.prompt ? 0 : 1};
      model_.run(std::span(ids).subspan(static_cast<std::size_t>(past), static_cast<std::size_t>(count)), {&slice, 1},
                 &pool);
      last = count - 1;
    }
    model_.logits({&last, 1});
  };
  std::vector<double> seconds, faults;
  for (int repetition = -1; repetition < options_.repetitions; ++repetition) {  // the first one warms up
    const double before = page_faults();
    const double took = seconds_of(run);
    if (repetition < 0) continue;
    seconds.push_back(took);
    faults.push_back(page_faults() - before);
  }
  const auto tokens = static_cast<double>(options_.prompt);
  const double operations = linear_operations(options_.prompt, 1);
  out.prefill_tokens_per_s = tokens / median(seconds);
  out.prefill_peak_fraction = matmul_peak_ > 0 ? operations / median(seconds) / matmul_peak_ : 0;
  out.prefill_page_faults_per_token = median(faults) / tokens;
}

ModelBench::Steps ModelBench::time_decode(std::int64_t batch, std::int64_t steps) {
  const std::int64_t room = options_.depth + steps;
  const model::KvPool pool = make_pool(batch, room);
  std::vector<model::SequenceSlice> slices;
  for (std::int64_t i = 0; i < batch; ++i) slices.push_back({.token_count = 1, .blocks = blocks_of(i, room)});
  std::vector<std::int32_t> ids(static_cast<std::size_t>(batch));
  const auto run = [&](std::int64_t count) {
    for (std::int64_t step = 0; step < count; ++step) {
      stop_flag().throw_if_requested();
      for (std::int64_t i = 0; i < batch; ++i) {
        ids[static_cast<std::size_t>(i)] = random_id(static_cast<std::uint64_t>(step * batch + i));
        slices[static_cast<std::size_t>(i)].past = options_.depth + step;
      }
      model_.forward(ids, slices, false, &pool);
    }
  };
  run(std::min<std::int64_t>(steps, 2));
  const auto bytes = static_cast<double>(bytes_per_step(batch, steps));
  std::vector<double> seconds, reads, fractions, faults;
  for (int repetition = 0; repetition < options_.repetitions; ++repetition) {
    const double before = read_speed();
    const double faults_before = page_faults();
    seconds.push_back(seconds_of([&] { run(steps); }) / static_cast<double>(steps));
    faults.push_back((page_faults() - faults_before) / static_cast<double>(steps));
    reads.push_back((before + read_speed()) / 2);
    fractions.push_back(bytes / seconds.back() / reads.back());
  }
  return {.seconds_per_step = median(seconds),
          .read_bytes_per_s = median(reads),
          .bandwidth_fraction = median(fractions),
          .page_faults_per_step = median(faults)};
}

void ModelBench::decode(BenchSummary& out) {
  const Steps steps = time_decode(1, options_.gen);
  out.decode_tokens_per_s = 1 / steps.seconds_per_step;
  out.decode_bytes_per_token = bytes_per_step(1, options_.gen);
  out.decode_bandwidth_fraction = steps.bandwidth_fraction;
  out.read_bandwidth_bytes_per_s = steps.read_bytes_per_s;
  out.decode_page_faults_per_token = steps.page_faults_per_step;
}

BenchPoint ModelBench::decode_batch(std::int64_t batch) {
  const std::int64_t count = std::min(options_.gen, kSweepSteps);
  const Steps steps = time_decode(batch, count);
  return point(batch, steps.seconds_per_step, static_cast<double>(bytes_per_step(batch, count)),
               steps.bandwidth_fraction, linear_operations(batch, batch));
}

void ModelBench::run_linears(std::int64_t rows, bool in_bf16) {
  float* y = y_.data();
  for_each_linear(model_, [&](const ops::Linear& linear) {
    const ops::Linear* one = &linear;
    if (in_bf16) return linear.forward(x_.data(), rows, y, ops::Precision::kBf16);
    ops::forward_rows_alike({&one, 1}, x_.data(), rows, {&y, 1});
  });
}

bool ModelBench::has_bf16_products(std::int64_t rows) const {
  const ops::Linear& first = model_.layers().front().linears.front();
  return has_native_bf16() && rows > kernels::kMaxRows && !first.quantized() && first.dtype() == DType::kBf16;
}

BenchPoint ModelBench::linears(std::int64_t rows, bool in_bf16) {
  std::uint64_t widest_in = 0, widest_out = 0;
  for_each_linear(model_, [&](const ops::Linear& linear) {
    widest_in = std::max(widest_in, linear.in_features());
    widest_out = std::max(widest_out, linear.out_features());
  });
  x_.ensure(static_cast<std::size_t>(rows) * widest_in);
  y_.ensure(static_cast<std::size_t>(rows) * widest_out);
  for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(uniform(kIdSeed, i) - 0.5);
  run_linears(rows, in_bf16);
  const auto bytes = static_cast<double>(model_.bytes_per_token());
  // One pass is short for few rows: several together make a timing.
  const int passes = rows <= 8 ? 8 : 1;
  std::vector<double> seconds, fractions;
  for (int repetition = 0; repetition < options_.repetitions; ++repetition) {
    stop_flag().throw_if_requested();
    const double before = read_speed();
    seconds.push_back(seconds_of([&] {
                        for (int i = 0; i < passes; ++i) run_linears(rows, in_bf16);
                      }) /
                      passes);
    fractions.push_back(bytes / seconds.back() / ((before + read_speed()) / 2));
  }
  return point(rows, median(seconds), bytes, median(fractions), linear_operations(rows, rows));
}

std::vector<BenchKernel> ModelBench::kernels(std::int64_t rows) const {
  std::vector<BenchKernel> out;
  for_each_linear(model_, [&](const ops::Linear& linear) {
    const BenchKernel row{.out_features = static_cast<std::int64_t>(linear.out_features()),
                          .in_features = static_cast<std::int64_t>(linear.in_features()),
                          .rows = rows,
                          .kernel = ops::kernel_name({.bits = linear.packed_bits(), .dtype = linear.dtype()}, rows)};
    const bool known = std::any_of(out.begin(), out.end(), [&](const BenchKernel& k) {
      return k.out_features == row.out_features && k.in_features == row.in_features && k.kernel == row.kernel;
    });
    if (!known) out.push_back(row);
  });
  return out;
}

}  // namespace awq::bench
