#include "bench/kernel_bench.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "base/stop.h"
#include "bench/device_limits.h"
#include "bench/kernel_operands.h"
#include "bench/machine.h"
#include "device/dense_product.h"
#include "device/device.h"
#include "gpu/load.h"

namespace awq::bench {
namespace {

using kernels::cuda::Half;
using kernels::cuda::W4Layout;
using kernels::cuda::W4Problem;

struct Layer {
  const char* model;
  const char* name;
  std::int64_t n, k;
};
constexpr Layer kLayers[] = {
    {"8b", "qkv", 6144, 4096},       {"8b", "o", 4096, 4096},        {"8b", "gate+up", 28672, 4096},
    {"8b", "down", 4096, 14336},     {"70b", "qkv", 10240, 8192},    {"70b", "o", 8192, 8192},
    {"70b", "gate+up", 57344, 8192}, {"70b", "down", 8192, 28672},   {"7b", "qkv", 4608, 3584},
    {"7b", "o", 3584, 3584},         {"7b", "gate+up", 37888, 3584}, {"7b", "down", 3584, 18944},
};

constexpr std::int64_t kMostRows = 65536;
constexpr std::uint64_t kCachesOfWeights = 3;  ///< weights that are rotated, in sizes of the second-level cache
// A timing: launches recorded as one graph, which is started until the budget is spent.
constexpr double kGraphSeconds = 2e-3;
constexpr double kBudgetSeconds = 15e-3;
constexpr int kMostLaunches = 100, kLeastLaunches = 2;
constexpr std::size_t kLeastTimings = 5, kMostTimings = 60;
constexpr double kHopeless = 2;  ///< a kernel that takes so many times the chosen one is not timed with --all

Half parse_type(const std::string& name) {
  if (name == "f16") return Half::kF16;
  if (name == "bf16") return Half::kBf16;
  fail(ErrorCode::kInvalidArgument, "--type {}: expected f16 or bf16", printable(name));
}

void check_options(const KernelBenchOptions& o) {
  parse_type(o.type);
  for (const std::string& shape : o.shapes) {
    if (std::none_of(std::begin(kLayers), std::end(kLayers), [&](const Layer& l) { return l.model == shape; })) {
      fail(ErrorCode::kInvalidArgument, "--shapes {}: expected 8b, 70b or 7b", printable(shape));
    }
  }
  for (const std::int64_t rows : o.rows) {
    if (rows < 1 || rows > kMostRows) {
      fail(ErrorCode::kInvalidArgument, "--batch {}: expected 1 to {}", rows, kMostRows);
    }
  }
  if (o.rows.empty()) fail(ErrorCode::kInvalidArgument, "--batch: expected at least one number of tokens");
  for (const Layer& layer : kLayers) {
    const char* objection = kernels::cuda::w4_objection(layer.n, layer.k, o.group_size, nullptr, 0);
    if (objection != nullptr) fail(ErrorCode::kInvalidArgument, "--group-size {}: {}", o.group_size, objection);
  }
}

/// Median seconds of one launch; `enqueue(i)` puts launch i into the stream.
double median_seconds(const device::Stream& stream, const std::function<void(int)>& enqueue) {
  enqueue(0);
  const double estimate = device_seconds(stream, [&] { enqueue(1); });
  const int launches = static_cast<int>(std::clamp<double>(kGraphSeconds / estimate, kLeastLaunches, kMostLaunches));
  const device::Graph graph(stream, [&] {
    for (int i = 0; i < launches; ++i) enqueue(i);
  });
  std::vector<double> seconds;
  double spent = 0;
  while (seconds.size() < kLeastTimings || (spent < kBudgetSeconds && seconds.size() < kMostTimings)) {
    // The device is busy while the host starts what is timed, so that the start does not count.
    if (launches > kLeastLaunches || seconds.empty()) graph.launch(stream);
    const double taken = device_seconds(stream, [&] { graph.launch(stream); });
    spent += taken;
    seconds.push_back(taken / launches);
  }
  return median(seconds);
}

class KernelBench {
 public:
  KernelBench(const KernelBenchOptions& options, const device::Properties& properties)
      : options_(options), type_(parse_type(options.type)), cache_bytes_(properties.l2_bytes * kCachesOfWeights) {
    summary_.device = gpu::describe(properties, type_);
    summary_.copy_bytes_per_s = device_copy_bandwidth();
    try {
      summary_.dense_flops = device_product_peak(type_);
      dense_workspace_ = device::Buffer(device::DenseProduct::kWorkspaceBytes);
      dense_ = std::make_unique<device::DenseProduct>(dense_workspace_.data());
    } catch (const Error& error) {
      if (options_.on_stage) options_.on_stage(fmt::format("nothing to compare with: {}", error.what()));
    }
    if (options_.on_limits) options_.on_limits(summary_);
  }

  void run(const Layer& layer) {
    const std::int64_t most = *std::max_element(options_.rows.begin(), options_.rows.end());
    const W4Layout layout{layer.n, layer.k, options_.group_size};
    const KernelOperands operands(layout, type_, most, cache_bytes_, stream_);
    for (const std::int64_t m : options_.rows) {
      stop_flag().throw_if_requested();
      run(layer, operands, m);
    }
  }
  KernelBenchSummary take() { return std::move(summary_); }

 private:
  void run(const Layer& layer, const KernelOperands& operands, std::int64_t m) {
    const W4Problem problem = operands.problem(m, 0, operands.y());
    const int chosen = kernels::cuda::w4_choice(problem);
    KernelTiming timing{.layer = fmt::format("{} {}", layer.model, layer.name),
                        .out_features = layer.n,
                        .in_features = layer.k,
                        .rows = m};
    if (const char* objection = kernels::cuda::w4_kernel_objection(problem, chosen); objection != nullptr) {
      if (options_.on_stage) options_.on_stage(fmt::format("{} with {} tokens: {}", timing.layer, m, objection));
      return;
    }
    if (dense_ != nullptr) timing.dense_seconds = time_dense(operands, layer, m);
    check_chosen(operands, m, chosen, timing);
    time_kernel(operands, m, chosen, timing);
    const double enough = kHopeless * summary_.timings.back().seconds;
    if (options_.all) time_others(operands, m, chosen, timing, enough);
    // The last one: it overwrites what the others were compared with.
    if (dense_ != nullptr && (options_.all || kernels::cuda::w4_panel_pays(problem.layout, m))) {
      time_panel(operands, m, timing, enough);
    }
  }
  /// All kernels that can run but the chosen one; only a check for those that take more than `enough` seconds.
  void time_others(const KernelOperands& operands, std::int64_t m, int chosen, KernelTiming timing, double enough) {
    const W4Problem problem = operands.problem(m, 0, operands.y());
    for (int index = 0; kernels::cuda::w4_kernel_names()[index] != nullptr; ++index) {
      if (index == chosen || kernels::cuda::w4_kernel_objection(problem, index) != nullptr) continue;
      stop_flag().throw_if_requested();
      check_same_bits(operands, m, index, timing.layer);
      if (once(operands, m, index) > enough) continue;
      timing.same_bits_as = kernels::cuda::w4_kernel_names()[chosen];
      time_kernel(operands, m, index, timing, false);
    }
  }

  double once(const KernelOperands& operands, std::int64_t m, int index) const {
    return device_seconds(stream_, [&] { launch(operands.problem(m, 0, operands.other_y()), index); });
  }
  void run_once(const KernelOperands& operands, std::int64_t m, int index, const device::Buffer& y) const {
    operands.poison(y, m, stream_);
    launch(operands.problem(m, 0, y), index);
    stream_.synchronize();
  }
  void launch(const W4Problem& problem, int index) const {
    device::check(kernels::cuda::w4_linear(problem, stream_.get(), index), kernels::cuda::w4_kernel_names()[index]);
  }

  /// The chosen kernel against binary64 and against another kernel, bit by bit.
  void check_chosen(const KernelOperands& operands, std::int64_t m, int chosen, KernelTiming& timing) {
    const char* name = kernels::cuda::w4_kernel_names()[chosen];
    run_once(operands, m, chosen, operands.y());
    timing.error = operands.sampled_error(m);
    if (!(timing.error <= kernels::cuda::w4_tolerance(type_))) {  // NaN too
      fail(ErrorCode::kInternal, "{} with {} tokens: kernel {} is off by {:.2g} of the result", timing.layer, m, name,
           timing.error);
    }
    if (const std::optional<int> other = other_kernel(operands.problem(m, 0, operands.y()), chosen)) {
      check_same_bits(operands, m, *other, timing.layer);
      timing.same_bits_as = kernels::cuda::w4_kernel_names()[*other];
    }
  }
  void check_same_bits(const KernelOperands& operands, std::int64_t m, int index, const std::string& layer) {
    run_once(operands, m, index, operands.other_y());
    if (const std::uint32_t different = operands.different(m, stream_); different != 0) {
      fail(ErrorCode::kInternal, "{} with {} tokens: kernel {} gives other bits than the chosen one in {} places",
           layer, m, kernels::cuda::w4_kernel_names()[index], different);
    }
  }
  /// The last other row of the table that can run the problem: those for many tokens come last, and they take any.
  static std::optional<int> other_kernel(const W4Problem& problem, int chosen) {
    std::optional<int> out;
    for (int index = 0; kernels::cuda::w4_kernel_names()[index] != nullptr; ++index) {
      if (index != chosen && kernels::cuda::w4_kernel_objection(problem, index) == nullptr) out = index;
    }
    return out;
  }

  /// Expansion and product, as with --cuda-linear fast; not where both together take more than `enough` seconds.
  void time_panel(const KernelOperands& operands, std::int64_t m, KernelTiming timing, double enough) {
    const auto launch_panel = [&](int copy, const device::Buffer& y) {
      const W4Problem problem = operands.problem(m, copy, y);
      device::check(
          kernels::cuda::w4_expand(problem.layout, type_, problem.weight, nullptr, operands.panel(), stream_.get()),
          "w4_expand");
      const device::DenseShape shape{.type = type_, .m = m, .n = problem.layout.n, .k = problem.layout.k};
      dense_->run(shape, operands.x(), operands.panel(), nullptr, y.data(), stream_);
    };
    operands.poison(operands.y(), m, stream_);
    launch_panel(0, operands.y());
    stream_.synchronize();
    timing.error = operands.sampled_error(m);
    if (!(timing.error <= kernels::cuda::w4_panel_tolerance(type_))) {
      fail(ErrorCode::kInternal, "{} with {} tokens: the product by way of a panel is off by {:.2g} of the result",
           timing.layer, m, timing.error);
    }
    timing.same_bits_as.clear();
    if (device_seconds(stream_, [&] { launch_panel(1, operands.other_y()); }) > enough) return;
    timing.kernel = gpu::kPanelName;
    timing.chosen = false;
    timing.seconds = median_seconds(stream_, [&](int i) { launch_panel(i, operands.other_y()); });
    finish(timing);
  }

  void time_kernel(const KernelOperands& operands, std::int64_t m, int index, KernelTiming timing, bool chosen = true) {
    timing.kernel = kernels::cuda::w4_kernel_names()[index];
    timing.chosen = chosen;
    timing.seconds = median_seconds(stream_, [&](int i) { launch(operands.problem(m, i, operands.other_y()), index); });
    finish(timing);
  }
  /// Rates of a timing, which is then reported.
  void finish(KernelTiming timing) {
    const auto n = static_cast<double>(timing.out_features);
    const auto k = static_cast<double>(timing.in_features);
    const W4Layout layout{timing.out_features, timing.in_features, options_.group_size};
    timing.bytes_per_s = static_cast<double>(layout.bytes()) / timing.seconds;
    timing.copy_fraction = timing.bytes_per_s / summary_.copy_bytes_per_s;
    timing.flops = 2 * n * k * static_cast<double>(timing.rows) / timing.seconds;
    if (summary_.dense_flops > 0) timing.dense_fraction = timing.flops / summary_.dense_flops;
    summary_.timings.push_back(timing);
    if (options_.on_timing) options_.on_timing(timing);
  }

  double time_dense(const KernelOperands& operands, const Layer& layer, std::int64_t m) {
    const device::DenseShape shape{.type = type_, .m = m, .n = layer.n, .k = layer.k};
    const auto run = [&](int i) {
      dense_->run(shape, operands.x(), operands.halves(i), nullptr, operands.other_y().data(), stream_);
    };
    return median_seconds(stream_, run);
  }

  const KernelBenchOptions& options_;
  Half type_;
  std::uint64_t cache_bytes_;
  device::Stream stream_;
  device::Buffer dense_workspace_;
  std::unique_ptr<device::DenseProduct> dense_;
  KernelBenchSummary summary_;
};

}  // namespace

KernelBenchSummary run_kernels(const KernelBenchOptions& options) {
  const int device = device::parse_name(options.device);
  check_options(options);
  if (device < 0) {
    fail(ErrorCode::kDevice, "--kernels: measures kernels of an NVIDIA device, expected --device cuda{}",
         options.device == "auto" ? ", and there is none" : "");
  }
  const device::Properties properties = device::open(device);
  if (options.on_stage) options.on_stage("measuring the device");
  kernels::cuda::allow_overlap(gpu::overlap_by_environment());
  KernelBench bench(options, properties);
  for (const std::string& shape : options.shapes) {
    for (const Layer& layer : kLayers) {
      if (layer.model == shape) bench.run(layer);
    }
  }
  return bench.take();
}

}  // namespace awq::bench
