// Quantizing on a device against the processor. quantize_check DEVICE [MODEL_FOLDER...]: one line per check, status 1
// when one failed, 77 when there is no device. quantize_check DEVICE --quantize MODEL OUT [FLAG...]: `awq quantize`
// with the device of this program, for builds where that is emulated; flags: --fast, --gptq, --no-eval, --resume.
// quantize_check DEVICE --compare A B: the share of equal codes of two outputs.

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "device/device.h"
#include "gpu_quantize/device_site_search.h"
#include "gpu_quantize/quantizer_device.h"
#include "ops/gemm.h"
#include "quantize/host_site_search.h"
#include "quantize/pipeline.h"
#include "quantize/quantize_run.h"
#include "tolerances.h"

namespace {

using namespace awq;
using quantize::CodeSearch;

int failures = 0;

void report(bool good, const std::string& what, const std::string& detail) {
  fmt::print("{} {:<58} {}\n", good ? "ok  " : "FAIL", what, detail);
  std::fflush(stdout);
  if (!good) ++failures;
}

double relative(double found, double expected) {
  return std::fabs(found - expected) / std::max({std::fabs(expected), std::fabs(found), 1e-30});
}

/// Activations of channels of very different size, some of them correlated, one of them dead.
std::vector<float> activations(std::uint64_t seed, std::int64_t tokens, std::int64_t width) {
  std::vector<float> out(static_cast<std::size_t>(tokens * width));
  for (std::int64_t t = 0; t < tokens; ++t) {
    const double common = uniform(seed, static_cast<std::uint64_t>(t)) - 0.5;
    for (std::int64_t k = 0; k < width; ++k) {
      const auto at = static_cast<std::uint64_t>(t * width + k);
      const double size = std::exp(3 * uniform(seed + 1, static_cast<std::uint64_t>(k)));
      out[at] =
          k == 5 ? 0.0F : static_cast<float>((uniform(seed + 2, at) - 0.5 + common * (k % 3 == 0 ? 1 : 0)) * size);
    }
  }
  return out;
}

struct SiteCase {
  std::int64_t width, tokens;
  std::vector<std::int64_t> rows;
  quantize::SiteSearchPlan plan;
  bool residual = false;
};

/// The same inputs for both; `chunks` pieces one after the other.
template <typename Add>
void feed(const SiteCase& c, const Add& add) {
  constexpr std::int64_t kChunks = 2;
  const std::int64_t tokens = c.tokens / kChunks;
  for (std::int64_t chunk = 0; chunk < kChunks; ++chunk) {
    const auto seed = static_cast<std::uint64_t>(100 * chunk);
    const std::vector<float> quantized = activations(seed, tokens, c.width);
    std::vector<float> exact = quantized;
    for (std::size_t i = 0; i < exact.size(); ++i)
      exact[i] += static_cast<float>((uniform(seed + 7, i) - 0.5) * 0.05) * (1 + std::fabs(exact[i]));
    const std::vector<float> gap = c.residual ? activations(seed + 9, tokens, c.rows.front()) : std::vector<float>();
    add(quantized, exact, gap, tokens);
  }
}

double share_of_equal(const quant::QuantizedTensor& a, const quant::QuantizedTensor& b) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < a.codes.size(); ++i) equal += a.codes[i] == b.codes[i] ? 1 : 0;
  return static_cast<double>(equal) / static_cast<double>(a.codes.size());
}

void check_site(const SiteCase& c, gpu_quantize::Queue& queue, const std::string& name) {
  const bool bf16 = c.plan.precision == ops::Precision::kBf16;
  const std::int64_t residual = c.residual ? c.rows.front() : 0;
  quantize::SiteStatistics statistics(c.width, c.plan.precision);
  auto correction = std::make_unique<quantize::CorrectionStatistics>(c.width, residual, c.plan.precision);
  gpu_quantize::SiteSums sums(queue, c.width, bf16, true, residual);
  feed(c, [&](const auto& quantized, const auto& exact, const auto& gap, std::int64_t tokens) {
    const auto x = gpu_quantize::uploaded(std::span<const float>(quantized), queue);
    const auto exact_there = gpu_quantize::uploaded(std::span<const float>(exact), queue);
    const auto gap_there = gpu_quantize::uploaded(std::span<const float>(gap), queue);
    sums.add(x.data(), tokens);
    sums.add_gap(exact_there.data(), x.data(), gap.empty() ? nullptr : gap_there.data(), tokens);
    queue.stream().synchronize();
    statistics.add(quantized.data(), tokens);
    std::vector<float> scratch = exact;
    correction->add(scratch.data(), quantized.data(), gap.empty() ? nullptr : gap.data(), tokens);
  });
  sums.finish();
  statistics.finish();
  const std::vector<float> gram = gpu_quantize::downloaded(sums.gram(), queue);
  double largest = 0;
  double worst = 0;
  for (std::size_t i = 0; i < gram.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(statistics.gram()[i])));
    worst = std::max(worst, std::fabs(static_cast<double>(gram[i]) - statistics.gram()[i]));
  }
  report(worst <= tolerance::kDeviceSums * largest, name + ": Gram matrix", fmt::format("{:.1e}", worst / largest));

  quantize::HostSiteSearch host(std::move(statistics), std::move(correction));
  gpu_quantize::DeviceSiteSearch device(queue, std::move(sums));
  const auto linears = [&] {
    std::vector<quantize::SearchedLinear> out;
    for (std::size_t i = 0; i < c.rows.size(); ++i) {
      quantize::SearchedLinear& linear = out.emplace_back();
      linear.rows = c.rows[i];
      linear.weights = AlignedBuffer<float>(static_cast<std::size_t>(c.rows[i] * c.width));
      for (std::size_t at = 0; at < linear.weights.size(); ++at)
        linear.weights[at] = static_cast<float>((uniform(50 + i, at) + uniform(60 + i, at) - 1) * 0.1);
    }
    return out;
  };
  host.load(linears(), c.plan);
  device.load(linears(), c.plan);
  host.correct();
  device.correct();
  const auto close = [&](const std::string& what, double found, double expected, double bound) {
    const double difference = relative(found, expected);
    report(difference <= bound, name + ": " + what, fmt::format("{:.1e} of {:.4g}", difference, expected));
  };
  for (std::size_t i = 0; i < c.rows.size(); ++i) {
    close("energy", device.energy(i), host.energy(i), tolerance::kDeviceLoss);
    close("loss of rounding", device.rounding_loss(i), host.rounding_loss(i), tolerance::kDeviceLoss);
  }
  const auto largest_gap = [](const std::vector<double>& a, const std::vector<double>& b) {
    double gap = 0;
    for (std::size_t k = 0; k < a.size(); ++k) gap = std::max(gap, relative(a[k], b[k]));
    return gap;
  };
  const double mean_gap = largest_gap(device.mean_abs(), host.mean_abs());
  report(mean_gap <= tolerance::kDeviceSums, name + ": mean |x|", fmt::format("{:.1e}", mean_gap));
  const double magnitude_gap = largest_gap(device.relative_magnitude(), host.relative_magnitude());
  // Of corrected weights, each of which may be off by the solution of least squares.
  report(magnitude_gap <= tolerance::kDeviceLoss, name + ": relative |w|", fmt::format("{:.1e}", magnitude_gap));
  std::vector<float> scale(static_cast<std::size_t>(c.width));
  for (std::size_t k = 0; k < scale.size(); ++k) scale[k] = static_cast<float>(0.5 + uniform(3, k));
  close("loss of scaled rounding", device.scaled_rounding_loss(scale), host.scaled_rounding_loss(scale),
        tolerance::kDeviceRounded);
  host.scale(scale);
  device.scale(scale);
  host.search();
  device.search();
  for (std::size_t i = 0; i < c.rows.size(); ++i) {
    close("loss of the result", device.result_loss(i), host.result_loss(i), tolerance::kDeviceResult);
    close("clipped groups", device.clipped_share(i) + 1, host.clipped_share(i) + 1, 1e-2);
    const quant::QuantizedTensor expected = host.take_result(i);
    const double share = share_of_equal(device.take_result(i), expected);
    report(share >= tolerance::kDeviceEqualCodes, name + ": equal codes", fmt::format("{:.5f}", share));
  }
}

void check_fall_back(gpu_quantize::Queue& queue) {
  const SiteCase c{.width = 256, .tokens = 512, .rows = {70}, .plan = {.codes = CodeSearch::kDescent}};
  quantize::SiteStatistics statistics(c.width, c.plan.precision);
  gpu_quantize::SiteSums sums(queue, c.width, false, false, 0);
  feed(c, [&](const auto& quantized, const auto&, const auto&, std::int64_t tokens) {
    const auto x = gpu_quantize::uploaded(std::span<const float>(quantized), queue);
    sums.add(x.data(), tokens);
    queue.stream().synchronize();
    statistics.add(quantized.data(), tokens);
  });
  sums.finish();
  statistics.finish();
  quantize::HostSiteSearch host(std::move(statistics));
  gpu_quantize::DeviceSiteSearch device(queue, std::move(sums));
  for (quantize::SiteSearch* search :
       {static_cast<quantize::SiteSearch*>(&host), static_cast<quantize::SiteSearch*>(&device)}) {
    quantize::SearchedLinear linear{AlignedBuffer<float>(static_cast<std::size_t>(70 * c.width)), 70};
    for (std::size_t at = 0; at < linear.weights.size(); ++at)
      linear.weights[at] = static_cast<float>(uniform(5, at) - 0.5);
    std::vector<quantize::SearchedLinear> list;
    list.push_back(std::move(linear));
    search->load(std::move(list), c.plan);
    search->correct();
    search->search();
    search->fall_back(0);
  }
  const double difference = relative(device.result_loss(0), host.result_loss(0));
  report(difference <= tolerance::kDeviceResult, "fall back to rounding: loss", fmt::format("{:.1e}", difference));
  const quant::QuantizedTensor expected = host.take_result(0);
  const double share = share_of_equal(device.take_result(0), expected);
  report(share >= tolerance::kDeviceEqualCodes, "fall back to rounding: equal codes", fmt::format("{:.5f}", share));
}

/// All layers of a model from random tokens, on both.
void check_model(const std::filesystem::path& folder, const std::string& recipe) {
  const model::ModelFiles files = model::ModelFiles::open(folder);
  QuantizeOptions options;
  options.model = folder;
  options.recipe = recipe;
  options.format = "compressed-tensors";
  const bool tiny = files.config().hidden_size % 128 != 0;
  options.group_size = tiny ? -1 : 128;
  quantize::CalibrationBlocks blocks;
  blocks.count = 10;
  blocks.length = std::min<std::int64_t>(files.config().max_position_embeddings, 96);
  for (std::int64_t i = 0; i < blocks.count * blocks.length; ++i) {
    blocks.ids.push_back(static_cast<std::int32_t>(random_bits(11, static_cast<std::uint64_t>(i)) %
                                                   static_cast<std::uint64_t>(files.config().vocab_size)));
  }
  const quantize::OutputPlan plan = quantize::plan_output(files, options);
  const ops::Precision precision = quantize::calibration_precision(files);
  gpu_quantize::QuantizerDevice device;
  quantize::LayerPipeline there(files, plan, options, blocks, precision, &device);
  quantize::LayerPipeline here(files, plan, options, blocks, precision);
  there.embed();
  here.embed();
  double seconds = 0;
  double host_seconds = 0;
  for (std::int64_t layer = 0; layer < std::min<std::int64_t>(files.config().num_hidden_layers, 3); ++layer) {
    const auto begin = std::chrono::steady_clock::now();
    const quantize::LayerPipeline::Result found = there.run_layer(layer);
    there.fetch_hidden();
    const auto middle = std::chrono::steady_clock::now();
    const quantize::LayerPipeline::Result expected = here.run_layer(layer);
    seconds += std::chrono::duration<double>(middle - begin).count();
    host_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - middle).count();
    double equal = 0;
    double all = 0;
    for (std::size_t role = 0; role < model::kRoles; ++role) {
      if (!expected.weights.linears[role].quantized) continue;
      const quant::QuantizedTensor& a = *expected.weights.linears[role].quantized;
      const auto count = static_cast<double>(a.codes.size());
      equal += count * share_of_equal(a, *found.weights.linears[role].quantized);
      all += count;
    }
    const double difference = relative(found.report.mean_error, expected.report.mean_error);
    report(difference <= tolerance::kDeviceLayer,
           fmt::format("{} {}: layer {}", folder.filename().string(), recipe, layer),
           fmt::format("equal codes {:.5f}, error {:.4e} beside {:.4e}", equal / all, found.report.mean_error,
                       expected.report.mean_error));
    // That of the original model: the other one's differ with the first code.
    const auto* a = reinterpret_cast<const Bf16*>(here.streams().back().bytes().data());
    const auto* b = reinterpret_cast<const Bf16*>(there.streams().back().bytes().data());
    const std::size_t states = here.streams().back().bytes().size() / sizeof(Bf16);
    double squares = 0;
    double sum = 0;
    for (std::size_t i = 0; i < states; ++i) {
      squares += std::pow(static_cast<double>(to_float(a[i])) - to_float(b[i]), 2);
      sum += std::pow(static_cast<double>(to_float(a[i])), 2);
    }
    const double gap = std::sqrt(squares / sum);
    report(gap <= tolerance::kDeviceHidden,
           fmt::format("{} {}: layer {} hidden states", folder.filename().string(), recipe, layer),
           fmt::format("{:.1e}", gap));
  }
  fmt::print("     {} {}: {:.2f} s on the device, {:.2f} s on the processor\n", folder.filename().string(), recipe,
             seconds, host_seconds);
}

int run_checks(const std::vector<std::string>& models) {
  gpu_quantize::Queue queue;
  const auto plan = [&](int bits, std::int64_t group, bool symmetric, CodeSearch codes, ops::Precision precision) {
    return quantize::SiteSearchPlan{
        .scheme = {.bits = bits, .group_size = group, .symmetric = symmetric}, .codes = codes, .precision = precision};
  };
  const ops::Precision f32 = ops::Precision::kF32;
  const ops::Precision bf16 = ops::Precision::kBf16;
  check_site({.width = 384, .tokens = 640, .rows = {100, 33}, .plan = plan(4, 128, false, CodeSearch::kDescent, f32)},
             queue, "descent, groups of 128");
  check_site({.width = 384,
              .tokens = 640,
              .rows = {100},
              .plan = plan(4, 64, false, CodeSearch::kDescent, bf16),
              .residual = true},
             queue, "descent, groups of 64, bf16, residual");
  check_site({.width = 160, .tokens = 320, .rows = {50}, .plan = plan(3, 32, true, CodeSearch::kFeedback, f32)}, queue,
             "feedback, groups of 32, 3 bits, symmetric");
  check_site({.width = 200, .tokens = 320, .rows = {41}, .plan = plan(8, -1, false, CodeSearch::kDescent, f32)}, queue,
             "descent, whole rows of 200, 8 bits");
  check_site({.width = 72, .tokens = 160, .rows = {17}, .plan = plan(4, -1, false, CodeSearch::kRound, f32)}, queue,
             "rounding, whole rows of 72");
  check_fall_back(queue);
  for (const std::string& model : models) {
    for (const char* recipe : {"best", "fast"}) check_model(model, recipe);
  }
  fmt::print("{} bytes of device memory at the peak\n", device::peak_buffer_bytes());
  return failures == 0 ? 0 : 1;
}

int quantize_model(const std::vector<std::string>& words) {
  QuantizeOptions options;
  options.model = words.at(0);
  options.output = words.at(1);
  options.force = true;
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "--fast") options.recipe = "fast";
    if (words[i] == "--gptq") options.method = "gptq";
    if (words[i] == "--no-eval") options.evaluate = false;
    if (words[i] == "--resume") options.resume = true;
  }
  options.on_progress = [](const Progress& p) { fmt::print("{} {}/{} {}\n", p.stage, p.done, p.total, p.detail); };
  const gpu_quantize::CudaChoice choice(0);
  const QuantizeSummary summary = quantize::run(options, &choice);
  fmt::print("{:.1f} s, device memory {} planned, {} used; perplexity {:.4f}, KL {:.6f}\n", summary.seconds,
             summary.planned_device_bytes, summary.peak_device_bytes, summary.perplexity, summary.kl_mean);
  return 0;
}

int compare_outputs(const std::vector<std::string>& words) {
  const model::ModelFiles a = model::ModelFiles::open(words.at(0));
  const model::ModelFiles b = model::ModelFiles::open(words.at(1));
  double equal = 0;
  double all = 0;
  for (std::int64_t layer = 0; layer < a.config().num_hidden_layers; ++layer) {
    const model::LayerWeights left = a.load_layer(layer);
    const model::LayerWeights right = b.load_layer(layer);
    double in_layer = 0;
    double of_layer = 0;
    for (std::size_t role = 0; role < model::kRoles; ++role) {
      if (!left.linears[role].quantized || !right.linears[role].quantized) continue;
      const quant::QuantizedTensor& tensor = *left.linears[role].quantized;
      const auto count = static_cast<double>(tensor.codes.size());
      in_layer += count * share_of_equal(tensor, *right.linears[role].quantized);
      of_layer += count;
    }
    fmt::print("layer {}: equal codes {:.5f}\n", layer, in_layer / of_layer);
    equal += in_layer;
    all += of_layer;
  }
  fmt::print("equal codes {:.5f} of {:.0f}\n", equal / all, all);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    ops::configure_threads(2);
    if (words.size() == 4 && words[1] == "--compare") return compare_outputs({words.begin() + 2, words.end()});
    const int index = device::parse_name(words.empty() ? "cuda" : words.front());
    try {
      device::open(index);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kDevice) throw;
      fmt::print("skipped: {}\n", error.what());
      return 77;
    }
    if (!words.empty()) words.erase(words.begin());
    if (!words.empty() && words.front() == "--quantize") return quantize_model({words.begin() + 1, words.end()});
    return run_checks(words);
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
