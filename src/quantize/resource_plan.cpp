#include "quantize/resource_plan.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/resources.h"
#include "ops/gemm.h"
#include "quantize/bit_allocation.h"
#include "quantize/layer_passes.h"
#include "quantize/output_writer.h"
#include "quantize/pipeline.h"
#include "quantize/quadratic_form.h"
#include "quantize/reverse_cholesky.h"
#include "quantize/staging.h"
#include "quantize/target_correction.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;
using model::Role;
using model::Site;
using model::SiteSpec;

// Program text, libraries and their generated code, allocator slack.
constexpr std::uint64_t kProgramBytes = 70ULL << 20;
// What the driver and the library of matrix products keep on the host.
constexpr std::uint64_t kDeviceProgramBytes = 1200ULL << 20;
// Candidates of the scale search, with the report's own evaluations.
constexpr double kEvaluations = 21 + 3;

/// Tokenizers hold tables several times the size of their file.
std::uint64_t tokenizer_bytes(const model::ModelFiles& files) {
  std::error_code ignored;
  std::uint64_t size = 0;
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    const auto found = std::filesystem::file_size(files.folder() / name, ignored);
    if (!ignored) size = std::max<std::uint64_t>(size, found);
  }
  return size * 12;
}

/// Bytes of what stands beside the weights: tokenizer, templates and licence, the two model cards, and a record of each
/// linear in the journal, the report and (as a name) the configuration.
std::uint64_t companion_bytes(const model::ModelFiles& files, const OutputPlan& plan) {
  constexpr std::uint64_t kSmallFiles = 64 << 10;
  constexpr std::uint64_t kPerLinear = 1024;
  std::uint64_t total = kSmallFiles + kPerLinear * plan.linears.size();
  for (const std::string& name : companion_names(files.folder())) {
    std::error_code unreadable;
    const auto size = std::filesystem::file_size(files.folder() / name, unreadable);
    if (!unreadable) total += size;
  }
  return total + original_card(files).size();
}

std::uint64_t matrix(std::int64_t a, std::int64_t b) {
  return static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b);
}

/// Canonical codes with their scales and zero points.
std::uint64_t code_bytes(std::uint64_t weights) { return weights + weights / 16; }

struct LayerBytes {
  std::uint64_t stored = 0;        ///< raw weights
  std::uint64_t gram = 0;          ///< of all sites
  std::uint64_t codes = 0;         ///< canonical tensors, one byte per code
  std::uint64_t largest_site = 0;  ///< weights as floats and search memory of the most demanding site
};

LayerBytes layer_bytes(const model::ModelFiles& files, ops::Precision precision) {
  const model::ModelConfig& c = files.config();
  const std::uint64_t element = dtype_bits(files.dtype()) / 8;
  LayerBytes out;
  for (const SiteSpec& site : files.architecture().sites) {
    const std::int64_t width = model::site_width(c, site.site);
    out.gram += SiteStatistics::bytes(width);
    std::uint64_t floats = 0;
    std::uint64_t largest = 0;
    for (const LinearSpec& linear : files.architecture().linears) {
      if (linear.input != site.site) continue;
      const std::uint64_t count = matrix(model::linear_shape(c, linear.role).out_features, width);
      out.stored += count * element;
      out.codes += code_bytes(count);
      floats += count * 4;
      largest = std::max(largest, count);
    }
    out.largest_site =
        std::max(out.largest_site, floats + floats / 4 + largest + QuadraticForm::bytes(width, precision));
  }
  return out;
}

/// Scratch memory of a pass of `tokens` tokens through a layer, with the rounded inputs of the widest product.
std::uint64_t pass_bytes(const model::ModelConfig& c, std::int64_t tokens) {
  const std::int64_t widest = std::max({c.hidden_size, c.q_width(), c.intermediate_size});
  return matrix(tokens, 4 * c.hidden_size + 2 * c.q_width() + 2 * c.kv_width() + 2 * c.intermediate_size + widest) * 4;
}

/// The most that run_in_sequence() holds beside the hidden states: over all sites, during its passes and its search.
std::uint64_t sequence_bytes(const model::ModelFiles& files, ops::Precision precision, bool corrects,
                             std::int64_t tokens) {
  const model::ModelConfig& c = files.config();
  const std::uint64_t stored = dtype_bits(files.dtype()) / 8;
  const std::uint64_t running = precision == ops::Precision::kBf16 ? 2 : 4;
  const auto weights = [&](auto counts) {
    std::uint64_t sum = 0;
    for (const LinearSpec& linear : files.architecture().linears) {
      const auto shape = model::linear_shape(c, linear.role);
      if (counts(linear.input)) sum += matrix(shape.out_features, shape.in_features);
    }
    return sum;
  };
  // Past attention nobody runs it again.
  const auto rest_after = [&](Site site) {
    return model::LayerPart{.after_attention = site >= Site::kAttentionOutput};
  };
  std::uint64_t most = 0;
  for (const SiteSpec& spec : files.architecture().sites) {
    const Site site = spec.site;
    const std::int64_t width = model::site_width(c, site);
    const bool writes_residual = site == Site::kAttentionOutput || site == Site::kMlpProduct;
    const std::uint64_t pair = SiteStatistics::bytes(width) +
                               (corrects ? CorrectionStatistics::bytes(width, writes_residual ? c.hidden_size : 0) : 0);
    const std::uint64_t own = weights([&](Site input) { return input == site; });
    const std::uint64_t later = weights([&](Site input) { return input > site; });
    const std::uint64_t done = code_bytes(weights([&](Site input) { return input < site; }));
    // The original layer, during the passes for this site and after them.
    const bool last = site == Site::kMlpProduct;
    const std::uint64_t exact =
        !corrects ? 0 : weights([&](Site input) { return site <= Site::kAttentionOutput || input >= Site::kMlpInput; });
    const std::uint64_t exact_rest =
        !corrects || last ? 0 : weights([&](Site input) { return runs(rest_after(site), input); });
    // What is run up to the site, then to go on after the last one.
    const model::LayerPart part{.after_attention = last, .last = site};
    const std::uint64_t copy = weights([&](Site input) { return runs(part, input); });
    const std::uint64_t copy_to_leave = !last ? 0 : weights([&](Site input) { return input >= Site::kMlpInput; });
    // Inputs kept and weighted, their rounded forms, and what the residual streams differ by.
    const std::uint64_t kept =
        matrix(tokens, corrects ? (writes_residual ? 12 : 8) * width + 6 * c.hidden_size : 2 * width);
    const std::uint64_t passes = (later + own + exact) * stored + done + copy * running + pair + kept;
    const std::uint64_t leaving = done + code_bytes(own) + copy_to_leave * running;
    // Floats, plain rounding to compare with and what comes of it; the factor of the Gram matrix; changes and products
    // of 512 rows.
    const std::uint64_t search =
        (later + exact_rest) * stored + done + pair + own * 4 + 2 * code_bytes(own) +
        std::max(ReverseCholesky::bytes(width) + 2 * matrix(512, width) * 4, QuadraticForm::bytes(width, precision));
    most = std::max({most, std::max(passes, leaving) + pass_bytes(c, tokens), search});
  }
  return most;
}

/// Size of all files in a folder and its folders; what cannot be read counts as nothing.
std::uint64_t bytes_below(const std::filesystem::path& folder) {
  std::uint64_t total = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unreadable;
    if (entry->is_regular_file(unreadable)) total += entry->file_size(unreadable);
  }
  return total;
}

}  // namespace

ResourcePlan plan_resources(const model::ModelFiles& files, const OutputPlan& plan, std::int64_t blocks,
                            std::int64_t length, ops::Precision precision, const QuantizeOptions& options,
                            bool on_device) {
  const model::ModelConfig& c = files.config();
  const bool in_sequence = blocks > 0 && quantizes_in_sequence(options);
  const int streams = stream_count(options);
  const LayerBytes layer = layer_bytes(files, precision);
  const std::int64_t tokens = blocks * length;
  const std::int64_t chunk =
      std::min<std::int64_t>(std::max(kCalibrationChunk, length), std::max<std::int64_t>(tokens, 1));
  const std::uint64_t hidden = matrix(tokens, c.hidden_size) * 2;
  const std::uint64_t activations = pass_bytes(c, chunk);
  std::uint64_t forward = blocks > 0 ? layer.stored + layer.gram + activations : layer.stored;
  std::uint64_t search = (blocks > 0 ? layer.gram : 0) + layer.stored / 2 + layer.codes + layer.largest_site;
  if (in_sequence) forward = search = sequence_bytes(files, precision, streams > 1, chunk);
  if (on_device) {
    // The layer, once more as it was while that is uploaded; weights of a site as floats, and codes; the layer before,
    // which is being saved.
    const std::uint64_t weights = layer.stored / (dtype_bits(files.dtype()) / 8);
    forward = search = kDeviceProgramBytes + 2 * layer.stored + 2 * layer.codes + weights * 4;
  }
  if (blocks > 0 && options.method == "awq" && options.recipe == "paper") {
    // The scale search runs a copy of the layer on the hidden states that entered it and keeps outputs to compare with;
    // a site's weights are there as floats, as codes and expanded again.
    const std::uint64_t weights = layer.stored / (dtype_bits(files.dtype()) / 8);
    search = std::max(search, hidden + 2 * layer.stored + layer.gram + weights * 10 + activations +
                                  matrix(2 * 8192 + chunk, c.hidden_size) * 4);
  }
  // Measuring holds hidden states of both models, one layer, the output matrix of both and a piece of the logits.
  const std::uint64_t head = matrix(c.vocab_size, c.hidden_size) * (dtype_bits(files.dtype()) / 8);
  const std::uint64_t measure = options.evaluate ? 2 * head + matrix(16384, c.hidden_size) * 8 + layer.stored +
                                                       layer.codes + activations + matrix(512, c.vocab_size) * 4
                                                 : 0;
  // A quantized embedding or head: codes, packed words and the bytes of the file at the same time.
  const std::uint64_t ends = plan.vocabulary.empty() ? 0 : 3 * matrix(c.vocab_size, c.hidden_size);
  // Losses for target_bpw: the layer as stored, and twice as it runs.
  const std::size_t sites = options.target_bpw > 0 ? wide_candidates(files, plan).size() : 0;
  const std::uint64_t scan =
      sites > 0 ? measuring_bytes(files, sites) + 5 * layer.stored + layer.codes + activations : 0;
  ResourcePlan out;
  out.peak_bytes =
      kProgramBytes + std::max({ends, scan, static_cast<std::uint64_t>(streams) * hidden + std::max(forward, search),
                                measure, tokenizer_bytes(files)});
  out.disk_bytes = plan.checkpoint.file_bytes + companion_bytes(files, plan) +
                   (c.num_hidden_layers > 1 ? 2 * static_cast<std::uint64_t>(streams) * hidden : 0);
  double per_layer = 0;
  for (const LinearSpec& linear : files.architecture().linears) {
    const auto shape = model::linear_shape(c, linear.role);
    const double n = static_cast<double>(shape.out_features);
    const double k = static_cast<double>(shape.in_features);
    per_layer += 2 * n * k * static_cast<double>(tokens);
    const bool searches = options.method == "awq" && blocks > 0;
    if (searches) per_layer += kEvaluations * n * k * k + 88 * n * k * 128;  // half of H; 44 range candidates
    // Error feedback on a triangle; correction and four passes of descent on all of H.
    if (in_sequence) per_layer += n * k * k * (streams > 1 ? 1 + 4 + 8 : 1);
    // Beside one pass: attention's inputs and the MLP's twice, and with corrections all of the original layer.
    if (in_sequence) {
      const bool twice = linear.role != Role::kO && linear.role != Role::kDown;
      per_layer += 2 * n * k * static_cast<double>(tokens) * ((twice ? 1 : 0) + (streams > 1 ? 1 : 0));
    }
  }
  for (const SiteSpec& site : files.architecture().sites) {
    const double width = static_cast<double>(model::site_width(c, site.site));
    per_layer += width * width * static_cast<double>(tokens) * (streams > 1 ? 3 : 1);
  }
  out.operations = per_layer * static_cast<double>(c.num_hidden_layers);
  if (sites > 0) {
    // The layer once for each token and site, and the head in the end.
    const double weights = static_cast<double>(layer.stored) / (static_cast<double>(dtype_bits(files.dtype())) / 8);
    const double passes = measuring_passes(files, sites);
    out.operations += 2 * passes * weights + 4 * passes / static_cast<double>(c.num_hidden_layers) *
                                                 static_cast<double>(c.vocab_size) * static_cast<double>(c.hidden_size);
  }
  return out;
}

double measure_speed(ops::Precision precision) {
  constexpr std::int64_t kSize = 1024;
  AlignedBuffer<float> c(static_cast<std::size_t>(kSize * kSize));
  AlignedBuffer<float> a(static_cast<std::size_t>(kSize * kSize));
  AlignedBuffer<Bf16> b(static_cast<std::size_t>(kSize * kSize));
  const auto product = [&] {
    if (precision == ops::Precision::kBf16) {
      ops::gemm(ops::GemmBf16{.m = kSize,
                              .n = kSize,
                              .k = kSize,
                              .a = b.data(),
                              .lda = kSize,
                              .b = b.data(),
                              .ldb = kSize,
                              .c = c.data(),
                              .ldc = kSize});
    } else {
      ops::gemm(ops::GemmF32{.m = kSize,
                             .n = kSize,
                             .k = kSize,
                             .a = a.data(),
                             .lda = kSize,
                             .b = a.data(),
                             .ldb = kSize,
                             .c = c.data(),
                             .ldc = kSize});
    }
  };
  product();  // the first call makes the kernel
  // The fastest of many: the mean of a tenth of a second says more about what else runs than about the machine.
  const double begin = monotonic_seconds();
  double fastest = std::numeric_limits<double>::infinity();
  for (int count = 0; count < 5 || monotonic_seconds() - begin < 0.1; ++count) {
    const double start = monotonic_seconds();
    product();
    fastest = std::min(fastest, monotonic_seconds() - start);
  }
  return 2.0 * kSize * kSize * kSize / std::max(fastest, 1e-9);
}

std::string megabytes(std::uint64_t bytes) {
  const double value = static_cast<double>(bytes) / 1e6;
  return fmt::format("{:.{}f} MB", value, value < 100 ? 1 : 0);
}

void check_resources(const ResourcePlan& plan, const std::filesystem::path& output) {
  if (const auto available = available_memory_bytes(); available && plan.peak_bytes > *available) {
    fail(ErrorCode::kOutOfMemory, "this run needs {} of memory, {} are available; fewer --calib-samples need less",
         megabytes(plan.peak_bytes), megabytes(*available));
  }
  std::error_code error;
  const std::filesystem::path folder = staging_folder(output).parent_path();
  const auto space = std::filesystem::space(folder, error);
  // What an interrupted run has taken there is used again.
  if (!error && space.available + bytes_below(staging_folder(output)) < plan.disk_bytes) {
    fail(ErrorCode::kIo, "{}: this run needs {} of disk, {} are free", folder.string(), megabytes(plan.disk_bytes),
         megabytes(space.available));
  }
}

}  // namespace awq::quantize
