#include "quantize/bit_allocation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "awq/error.h"
#include "base/random.h"
#include "support/paths.h"

namespace awq::quantize {
namespace {

using model::Site;

model::ModelFiles golden(const char* family) {
  return model::ModelFiles::open(std::filesystem::path(AWQ_SOURCE_DIR) / "tests/golden/models" / family);
}

QuantizeOptions options(double target_bpw) {
  QuantizeOptions out;
  out.group_size = 32;
  out.format = "compressed-tensors";
  out.target_bpw = target_bpw;
  return out;
}

TEST(BitAllocation, TakesTheLargestLossForEachByteThatFits) {
  const std::vector<WideCandidate> candidates = {
      {.layer = 0, .site = Site::kAttentionInput, .extra_bytes = 100, .loss = 1},
      {.layer = 0, .site = Site::kMlpInput, .extra_bytes = 400, .loss = 8},
      {.layer = 1, .site = Site::kAttentionInput, .extra_bytes = 100, .loss = 1},
      {.layer = 1, .site = Site::kMlpInput, .extra_bytes = 10, .loss = 0.05},
  };
  EXPECT_EQ(choose_wide(candidates, 9), WideSites{});
  EXPECT_EQ(choose_wide(candidates, 110), (WideSites{{0, Site::kAttentionInput}, {1, Site::kMlpInput}}));
  EXPECT_EQ(choose_wide(candidates, 500), (WideSites{{0, Site::kAttentionInput}, {0, Site::kMlpInput}}));
  EXPECT_EQ(choose_wide(candidates, 610).size(), 4U);
}

TEST(BitAllocation, NeverGoesBeyondTheTarget) {
  const model::ModelFiles files = golden("llama");
  const OutputPlan narrow = plan_output(files, options(0));
  const double parameters = static_cast<double>(files.parameter_count());
  const double least = 8 * static_cast<double>(narrow.checkpoint.file_bytes) / parameters;
  std::vector<WideCandidate> candidates = wide_candidates(files, narrow);
  EXPECT_EQ(candidates.size(), 4U * static_cast<std::size_t>(files.config().num_hidden_layers));
  for (std::uint64_t trial = 0; trial < 50; ++trial) {
    for (std::size_t i = 0; i < candidates.size(); ++i)
      candidates[i].loss = static_cast<double>(random_bits(trial, i) % 1000) + 1;
    const double target = least + 0.1 * static_cast<double>(trial);
    const WideSites wide = choose_wide(candidates, wide_budget(files, narrow, target));
    const OutputPlan plan = plan_output(files, options(target), wide);
    EXPECT_LE(8 * static_cast<double>(plan.checkpoint.file_bytes) / parameters, target);
    EXPECT_EQ(sites_of(narrow, plan.wide_modules()), wide);
  }
  try {
    wide_budget(files, narrow, least - 0.01);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("--embed-bits 8"), std::string::npos) << error.what();
  }
  EXPECT_THROW(sites_of(narrow, {"model.layers.99.mlp.up_proj"}), Error);
}

TEST(BitAllocation, LossesAreThoseOfRounding) {
  const model::ModelFiles files = golden("llama");
  CalibrationBlocks blocks{.ids = {}, .count = 4, .length = 16, .digest = {}};
  for (std::uint64_t i = 0; i < 64; ++i) {
    blocks.ids.push_back(
        static_cast<std::int32_t>(random_bits(5, i) % static_cast<std::uint64_t>(files.config().vocab_size)));
  }
  const auto losses = [&](int bits) {
    QuantizeOptions o = options(0);
    o.bits = bits;
    const OutputPlan narrow = plan_output(files, o);
    std::vector<WideCandidate> out = wide_candidates(files, narrow);
    measure_losses(files, narrow, blocks, ops::Precision::kF32, out);
    return out;
  };
  const std::vector<WideCandidate> two = losses(2);
  const std::vector<WideCandidate> four = losses(4);
  ASSERT_EQ(two.size(), four.size());
  for (std::size_t i = 0; i < two.size(); ++i) {
    EXPECT_GT(four[i].loss, 0);
    EXPECT_LT(four[i].loss, two[i].loss) << i;  // a fifth of the step, a twenty-fifth of the square
    EXPECT_TRUE(std::isfinite(two[i].loss));
  }
  const std::vector<WideCandidate> again = losses(4);
  for (std::size_t i = 0; i < four.size(); ++i) EXPECT_EQ(again[i].loss, four[i].loss);
}

}  // namespace
}  // namespace awq::quantize
