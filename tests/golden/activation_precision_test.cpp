// What integer activations and an 8-bit head cost: KL divergence from the same quantized model with binary32
// activations, relative to the KL divergence that plain rounding to 4 bits itself causes. docs/numerics.md states the
// figures, which this test prints.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "eval/windows.h"
#include "model/language_model.h"
#include "ops/linear.h"
#include "quantize/simulated_model.h"
#include "support/logits.h"
#include "support/paths.h"
#include "support/shared_data.h"
#include "text/documents.h"
#include "text/tokenizer.h"
#include "tolerances.h"

namespace awq {
namespace {

using Rows = std::vector<std::vector<float>>;  ///< logits of each window

Rows run(model::LanguageModel& model, const eval::Windows& windows, ops::ActivationPrecision precision) {
  ops::set_activation_precision(precision);
  Rows out;
  for (const auto& window : windows) out.push_back(test::all_logits(model, window));
  ops::set_activation_precision(ops::ActivationPrecision::kF32);
  return out;
}

double log_sum_exp(const float* row, std::size_t vocab) {
  double sum = 0;
  for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(row[i]));
  return std::log(sum);
}

/// Mean over tokens of KL(p || q), in binary64: the small divergences here are differences of nearly equal numbers.
double mean_kl(const Rows& p, const Rows& q, std::size_t vocab) {
  double total = 0;
  std::size_t tokens = 0;
  for (std::size_t w = 0; w < p.size(); ++w) {
    for (std::size_t at = 0; at < p[w].size(); at += vocab, ++tokens) {
      const double p_norm = log_sum_exp(&p[w][at], vocab);
      const double q_norm = log_sum_exp(&q[w][at], vocab);
      for (std::size_t i = at; i < at + vocab; ++i) {
        const double p_log = p[w][i] - p_norm;
        total += std::exp(p_log) * (p_log - (q[w][i] - q_norm));
      }
    }
  }
  return total / static_cast<double>(tokens);
}

void expect_small_loss(const std::filesystem::path& folder, const std::filesystem::path& text, std::int64_t group_size,
                       double int8_bound) {
  const model::ModelFiles files = model::ModelFiles::open(folder);
  const auto tokenizer = text::Tokenizer::load(folder);
  const auto vocab = static_cast<std::size_t>(files.config().vocab_size);
  const eval::Windows windows =
      eval::make_windows(text::read_documents(text), *tokenizer, 256, 1024, files.config().vocab_size);
  Rows original;
  {
    model::LanguageModel model(files);
    original = run(model, windows, ops::ActivationPrecision::kF32);
  }
  QuantizeOptions options;
  options.method = "rtn";
  options.group_size = group_size;
  options.format = "compressed-tensors";
  const quantize::SimulatedModel rounded(files, options);
  model::LanguageModel model(rounded);
  const Rows exact = run(model, windows, ops::ActivationPrecision::kF32);
  const double rtn = mean_kl(original, exact, vocab);
  const double int8 = mean_kl(exact, run(model, windows, ops::ActivationPrecision::kInt8), vocab) / rtn;
  const double int15 = mean_kl(exact, run(model, windows, ops::ActivationPrecision::kInt15), vocab) / rtn;
  model::LanguageModel with_int8_head(rounded, true);
  const double head = mean_kl(exact, run(with_int8_head, windows, ops::ActivationPrecision::kF32), vocab) / rtn;
  const double both = mean_kl(exact, run(with_int8_head, windows, ops::ActivationPrecision::kInt8), vocab) / rtn;
  std::printf("%s: rtn KL %.6f; of it, int8 %.3f %%, int15 %.5f %%, int8 head %.3f %%, int8 with int8 head %.3f %%\n",
              folder.filename().c_str(), rtn, 100 * int8, 100 * int15, 100 * head, 100 * both);
  EXPECT_GT(rtn, 1e-4);
  EXPECT_LE(int8, int8_bound);
  EXPECT_LE(int15, tolerance::kInt15Loss);
  EXPECT_LE(both, 2 * int8_bound);
}

TEST(SharedGolden, ActivationPrecisionLossOnBooks) {
  AWQ_REQUIRE_SHARED(text, "text/books-eval.txt");
  expect_small_loss(std::filesystem::path(AWQ_SOURCE_DIR) / "models" / "books-12m", text, 128,
                    tolerance::kInt8LossBooks);
}

TEST(SharedGolden, ActivationPrecisionLossOnStories) {
  AWQ_REQUIRE_SHARED(folder, "models/stories-3m");
  AWQ_REQUIRE_SHARED(text, "text/tinystories-sample.jsonl");
  expect_small_loss(folder, text, 64, tolerance::kInt8LossStories);
}

}  // namespace
}  // namespace awq
