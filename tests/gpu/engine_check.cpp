// Models on a device against the same models on the processor. engine_check DEVICE MODEL_FOLDER...: one line per check,
// status 1 when one failed, 77 when there is no device. On the emulated device ("emulated") with fewer tokens.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/check.h"
#include "base/random.h"
#include "base/resources.h"
#include "engine/engine_core.h"
#include "engine/language_step_model.h"
#include "gpu/engine_check_support.h"
#include "gpu/load.h"
#include "model/language_model.h"
#include "tolerances.h"

namespace {

using namespace awq;
using gpu_test::generate, gpu_test::logits_of_results, gpu_test::random_ids, gpu_test::relative_error,
    gpu_test::Sequences;

int failures = 0;
bool emulated = false;
/// How much of something a check does; the emulated device takes a thousand times as long as a real one.
std::int64_t amount(std::int64_t device, std::int64_t emulation) { return emulated ? emulation : device; }

void report(const std::string& model, const char* what, bool good, const std::string& detail) {
  fmt::print("{} {:<28} {:<34} {}\n", good ? "ok  " : "FAIL", model, what, detail);
  std::fflush(stdout);
  if (!good) ++failures;
}

class Check {
 public:
  /// `kv_dtype`: int8 or fp8, on the processor as well.
  Check(const std::filesystem::path& folder, std::optional<ops::KvDtype> kv_dtype)
      : name_(folder.filename().string()),
        kv_dtype_(kv_dtype),
        files_(model::ModelFiles::open(folder)),
        cpu_model_(files_),
        cpu_(cpu_model_, engine_options(true)) {
    if (name_ == "model") name_ = folder.parent_path().filename().string();
    if (kv_dtype) name_ += fmt::format(", {}", ops::kv_dtype_name(*kv_dtype));
    gpu_ = load(true, options());
    plain_ = load(false, options());
    gpu::ModelOptions fused = options();
    fused.fuse = true;
    fused_ = load(true, fused);
  }

  void run() {
    types();
    logits();
    panels();
    chunks();
    results();
    batch();
    graphs();
    fused();
    if (emulated && kv_dtype_.has_value()) return;  // it would take minutes more
    engine();
  }

 private:
  static constexpr std::int64_t kLength = 200;

  static bool has_bf16() { return kernels::cuda::type_objection(gpu::Half::kBf16) == nullptr; }
  /// In the checkpoint's type, or in the only one that the device has.
  gpu::ModelOptions options() const {
    gpu::ModelOptions out{.f32_as = gpu::f32_activation_type(files_), .fuse = false};
    if (!has_bf16()) out.type = gpu::Half::kF16;
    out.kv_dtype = kv_dtype_;
    return out;
  }
  std::unique_ptr<gpu::StepModel> load(bool with_graphs, const gpu::ModelOptions& model) const {
    return gpu::load_step_model(files_, model,
                                {.max_model_len = Sequences::kBlocks * 16,
                                 .max_num_seqs = 16,
                                 .max_num_batched_tokens = 512,
                                 .fill_memory = false,
                                 .graphs = with_graphs});
  }
  engine::EngineOptions engine_options(bool prefix_caching) const {
    engine::EngineOptions out;
    out.max_model_len = std::min(Sequences::kBlocks * 16, engine::cached_context(files_.config()));
    out.max_num_seqs = 16;
    out.max_num_batched_tokens = 512;
    out.prefix_caching = prefix_caching;
    if (kv_dtype_) out.kv_dtype = *kv_dtype_;
    return out;
  }
  std::vector<std::int32_t> ids(std::int64_t count, std::uint64_t seed) const {
    return random_ids(count, files_.config().vocab_size, seed);
  }
  std::int64_t length() const { return std::min(kLength, engine::cached_context(files_.config())); }
  double logit_bound() const {
    if (kv_dtype_ == ops::KvDtype::kFp8) return tolerance::kDeviceLogitsFp8;
    if (kv_dtype_ == ops::KvDtype::kInt8) return tolerance::kDeviceLogitsBf16;
    return gpu_->model().type() == gpu::Half::kF16 ? tolerance::kDeviceLogitsF16 : tolerance::kDeviceLogitsBf16;
  }
  /// Rows of a text in one chunk, on some model.
  std::vector<float> rows_of(engine::StepModel& model, std::span<const std::int32_t> text) const {
    Sequences sequences(model);
    sequences.add(0, 0, text);
    sequences.run();
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(text.size()); i += 7) rows.push_back(i);
    return sequences.logits(rows);
  }

  /// A device without BF16 says so, and what can be done.
  void types() {
    if (has_bf16()) return;
    gpu::ModelOptions other = options();
    other.type = gpu::Half::kBf16;
    std::string detail = "no error";
    bool good = false;
    try {
      load(false, other);
    } catch (const Error& error) {
      detail = error.what();
      good = error.code() == ErrorCode::kDevice && detail.find("--dtype f16") != std::string::npos;
    }
    report(name_, "BF16 is refused", good, detail);
  }

  /// Linears by way of a panel: as near to the processor's logits as without, and steps of few tokens are as ever.
  void panels() {
    if (!gpu_->model().quantized()) return;
    gpu::ModelOptions fast = options();
    fast.fast_linears = true;
    fast.fast_from = 24;
    const std::unique_ptr<gpu::StepModel> model = load(false, fast);
    const std::vector<std::int32_t> text = ids(length(), 6);
    const double error = relative_error(rows_of(*model, text), rows_of(cpu_, text));
    const double bound = logit_bound();
    const auto few = std::span(text).first(23);
    const bool same = rows_of(*model, few) == rows_of(*gpu_, few);
    const bool taken = model->model().linear_kernels(24) == std::vector<std::string>{gpu::kPanelName};
    report(name_, "by way of panels", error <= bound && same && taken,
           fmt::format("relative error {:.2e}, bound {:.2e}; few tokens the same: {}", error, bound, same));
  }

  void logits() {
    const std::vector<std::int32_t> text = ids(length(), 1);
    const std::vector<float> found = rows_of(*gpu_, text), expected = rows_of(cpu_, text);
    const double bound = logit_bound();
    const double error = relative_error(found, expected);
    report(name_, "logits", error <= bound, fmt::format("relative error {:.2e}, bound {:.2e}", error, bound));
    // The likeliest tokens agree, except where the processor's logits nearly tie.
    const auto vocab = static_cast<std::size_t>(files_.config().vocab_size);
    std::size_t others = 0, wrong = 0, rows = found.size() / vocab;
    double largest = 0;
    for (const float v : expected) largest = std::max(largest, std::abs(static_cast<double>(v)));
    for (std::size_t r = 0; r < rows; ++r) {
      const auto best = [&](const std::vector<float>& from) {
        const auto begin = from.begin() + static_cast<std::ptrdiff_t>(r * vocab);
        return static_cast<std::size_t>(std::max_element(begin, begin + static_cast<std::ptrdiff_t>(vocab)) - begin);
      };
      const std::size_t a = best(found), b = best(expected);
      if (a == b) continue;
      ++others;
      if (expected[r * vocab + b] - expected[r * vocab + a] > 2 * bound * largest) ++wrong;
    }
    report(name_, "likeliest tokens", wrong == 0, fmt::format("{} of {} differ, {} beyond a tie", others, rows, wrong));
    std::vector<std::int32_t> picks(1);
    Sequences sequences(*gpu_);
    sequences.add(0, 0, text);
    sequences.run();
    const std::int64_t last = static_cast<std::int64_t>(text.size()) - 1;
    gpu_->greedy({&last, 1}, picks);
    const std::vector<float> row = sequences.logits({last});
    const auto largest_at = std::max_element(row.begin(), row.end()) - row.begin();
    report(name_, "argmax on the device", picks[0] == largest_at, fmt::format("{} and {}", picks[0], largest_at));
    ops::Drawer drawer(static_cast<std::int64_t>(row.size()));
    int different = 0;
    constexpr int kDraws = 40;
    for (int i = 0; i < kDraws; ++i) {
      ops::DrawRule rule{.factor = 1.25F, .bits = random_bits(9, static_cast<std::uint64_t>(i))};
      if (i % 2 == 1) rule.top_k = 20;
      if (i % 3 == 1) rule.top_p = 0.9;
      gpu_->draw({&last, 1}, {&rule, 1}, picks);
      different += picks[0] != drawer.draw(row, rule) ? 1 : 0;
    }
    report(name_, "draws on the device", different == 0, fmt::format("{} of {} differ", different, kDraws));
  }

  /// What a token gives does not depend on how its text was cut into steps. With 16-bit weights that holds up to the
  /// order of sums in cublasLt.
  bool alike(std::span<const float> a, std::span<const float> b, std::string& detail) const {
    if (gpu_->model().quantized()) {
      const auto different = std::count_if(a.begin(), a.end(), [&, i = std::size_t{0}](float v) mutable {
        const float w = b[i++];
        return !(v == w);
      });
      detail = fmt::format("{} of {} numbers differ", different, a.size());
      return different == 0;
    }
    const double error = relative_error(a, b);
    const double bound = logit_bound();
    detail = fmt::format("relative error {:.2e} (16-bit weights)", error);
    return error <= bound;
  }

  void chunks() {
    const std::vector<std::int32_t> text = ids(length(), 2);
    Sequences whole(*gpu_), parts(*gpu_);
    whole.add(0, 0, text);
    whole.run();
    const std::vector<float> expected = whole.logits({static_cast<std::int64_t>(text.size()) - 1});
    std::int64_t past = 0;
    for (const std::int64_t count : {33, 1, 64, 7}) {
      parts.add(1, past, std::span(text).subspan(static_cast<std::size_t>(past), static_cast<std::size_t>(count)));
      parts.run();
      past += count;
    }
    const auto rest = std::span(text).subspan(static_cast<std::size_t>(past));
    parts.add(1, past, rest);
    parts.run();
    const std::vector<float> found = parts.logits({static_cast<std::int64_t>(rest.size()) - 1});
    std::string detail;
    const bool good = alike(found, expected, detail);
    report(name_, "one chunk and five", good, detail);
  }

  void results() {
    const std::vector<std::int32_t> text = ids(40, 3);
    for (engine::StepModel* model : {gpu_.get(), fused_.get()}) {
      std::string detail;
      const bool good = alike(logits_of_results(*model, text, true), logits_of_results(*model, text, false), detail);
      report(name_, model == gpu_.get() ? "results alone" : "results alone, fused", good, detail);
    }
  }

  void batch() {
    const std::int64_t count = amount(11, 5);
    Sequences sequences(*gpu_);
    std::vector<std::vector<std::int32_t>> texts;
    for (std::int64_t i = 0; i < count; ++i) {
      texts.push_back(ids(3 + 17 * i % (length() - 8), 10 + static_cast<std::uint64_t>(i)));
      sequences.add(i, 0, texts.back());
      sequences.run();
    }
    const std::vector<std::int32_t> next = ids(count, 9);
    std::vector<float> alone;
    for (std::int64_t i = 0; i < count; ++i) {
      sequences.add(i, static_cast<std::int64_t>(texts[static_cast<std::size_t>(i)].size()),
                    std::span(next).subspan(static_cast<std::size_t>(i), 1));
      sequences.run();
      const std::vector<float> row = sequences.logits({0});
      alone.insert(alone.end(), row.begin(), row.end());
    }
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < count; ++i) {
      sequences.add(i, static_cast<std::int64_t>(texts[static_cast<std::size_t>(i)].size()),
                    std::span(next).subspan(static_cast<std::size_t>(i), 1));
      rows.push_back(i);
    }
    sequences.run();
    std::string detail;
    const bool good = alike(sequences.logits(rows), alone, detail);
    report(name_, "in a batch and alone", good, detail);
  }

  /// A recorded step pads the batch and rounds the length up: nothing of that may show.
  void graphs() {
    const std::vector<std::int32_t> text = ids(length() - 12, 3), next = ids(amount(12, 4), 4);
    const auto decode = [&](gpu::StepModel& model) {
      Sequences sequences(model);
      for (std::int64_t i = 0; i < 3; ++i) {
        sequences.add(i, 0, std::span(text).subspan(static_cast<std::size_t>(i)));
        sequences.run();
      }
      std::vector<float> out;
      for (std::int64_t step = 0; step < static_cast<std::int64_t>(next.size()); ++step) {
        for (std::int64_t i = 0; i < 3; ++i) {
          sequences.add(i, static_cast<std::int64_t>(text.size()) - i + step,
                        std::span(next).subspan(static_cast<std::size_t>(step), 1));
        }
        sequences.run();
        const std::vector<float> rows = sequences.logits({0, 1, 2});
        out.insert(out.end(), rows.begin(), rows.end());
      }
      return out;
    };
    const std::vector<float> recorded = decode(*gpu_), direct = decode(*plain_);
    std::string detail;
    const bool good = alike(recorded, direct, detail) && gpu_->recorded_steps() > 0 && plain_->recorded_steps() == 0;
    report(name_, "recorded steps and direct ones", good, detail);
  }

  /// Fused launches give what their parts give: prompts of a few tokens, then sequences alone and together.
  void fused() {
    const std::vector<std::int32_t> text = ids(40, 6);
    const auto decode = [&](gpu::StepModel& model) {
      Sequences sequences(model);
      std::vector<float> out;
      std::int64_t past = 0;
      for (const std::int64_t count : {1, 2, 3, 1, 1, 8, 1}) {
        const std::vector<std::int64_t> last{count - 1};
        for (std::int64_t i = 0; i < 3; ++i) {
          sequences.add(
              i, past,
              std::span(text).subspan(static_cast<std::size_t>(past + 2 * i), static_cast<std::size_t>(count)));
          if (past == 7 && i < 2) continue;  // then all three in one step
          sequences.run();
          const std::vector<float> rows = sequences.logits(past == 7 ? std::vector<std::int64_t>{0, 1, 2} : last);
          out.insert(out.end(), rows.begin(), rows.end());
        }
        past += count;
      }
      return out;
    };
    const std::vector<float> found = decode(*fused_), expected = decode(*plain_);
    std::string detail;
    const bool good = alike(found, expected, detail);
    report(name_, "fused launches", good, fmt::format("{}, up to {} tokens", detail, fused_->model().chained_tokens()));
  }

  void engine() {
    std::vector<std::vector<std::int32_t>> prompts;
    const std::vector<std::int32_t> common = ids(70, 5);
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(amount(10, 4)); ++i) {
      prompts.push_back(common);
      const std::vector<std::int32_t> own = ids(static_cast<std::int64_t>(1 + 9 * i), 20 + i);
      prompts.back().insert(prompts.back().end(), own.begin(), own.end());
    }
    const bool exact = gpu_->model().quantized();
    const std::int64_t tokens = amount(24, 7);
    for (const double temperature : {0.0, 0.8}) {
      const auto cached = generate(*gpu_, engine_options(true), prompts, temperature, tokens);
      const auto twice = generate(*gpu_, engine_options(true), prompts, temperature, tokens);
      const auto uncached = generate(*gpu_, engine_options(false), prompts, temperature, tokens);
      std::vector<std::vector<std::int32_t>> alone;
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        // Draws count from the request's number: the one of this place, alone.
        if (temperature == 0)
          alone.push_back(generate(*plain_, engine_options(false), {prompts[i]}, 0, tokens).front());
      }
      const auto same = [](const auto& a, const auto& b) {
        std::size_t count = 0;
        for (std::size_t i = 0; i < a.size(); ++i) count += a[i] == b[i] ? 1 : 0;
        return count;
      };
      const std::size_t all = prompts.size();
      const std::size_t again = same(cached, twice), without = same(cached, uncached);
      const std::size_t single = alone.empty() ? all : same(cached, alone);
      report(name_, temperature == 0 ? "engine, greedy" : "engine, drawn",
             again == all && (!exact || (without == all && single == all)),
             fmt::format("the same again {}, without prefix cache {}, alone {}, of {}{}", again, without, single, all,
                         exact ? "" : " (16-bit weights)"));
    }
  }

  std::string name_;
  std::optional<ops::KvDtype> kv_dtype_;
  model::ModelFiles files_;
  model::LanguageModel cpu_model_;
  engine::LanguageStepModel cpu_;
  std::unique_ptr<gpu::StepModel> gpu_, plain_, fused_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fmt::print(stderr, "usage: engine_check DEVICE MODEL_FOLDER...\n");
    return 2;
  }
  if (device::count() == 0) {
    fmt::print("skipped: no NVIDIA device, or a build without CUDA\n");
    return 77;
  }
  try {
    emulated = std::string_view(argv[1]).starts_with("emulated");
    const device::Properties properties = device::open(std::max(0, device::parse_name(argv[1])));
    fmt::print("{}\n", gpu::describe(properties, gpu::Half::kBf16));
    for (int i = 2; i < argc; ++i) {
      const double begin = monotonic_seconds();
      try {
        Check(argv[i], std::nullopt).run();
        Check(argv[i], ops::KvDtype::kFp8).run();
        if (!emulated) Check(argv[i], ops::KvDtype::kInt8).run();  // token_emulated_check has its kernels
      } catch (const Error& error) {
        report(argv[i], "exception", false, error.what());
        if (error.code() == ErrorCode::kDevice) break;
      }
      fmt::print("     {:.1f} s\n", monotonic_seconds() - begin);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "engine_check: {}\n", error.what());
    return 1;
  }
  fmt::print("{} failures\n", failures);
  return failures == 0 ? 0 : 1;
}
