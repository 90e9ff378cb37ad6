#include "model/rope_frequencies.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "file/json.h"
#include "ops/rope.h"
#include "support/npy.h"
#include "support/shared_data.h"
#include "tolerances.h"

namespace awq::model {
namespace {

TEST(Rope, PlainLinearDynamic) {
  RopeConfig rope{.theta = 10000};
  const RopeFrequencies plain = compute_rope(rope, 8, 100);
  ASSERT_EQ(plain.frequencies.size(), 4U);
  EXPECT_EQ(plain.frequencies[0], 1.0F);
  EXPECT_FLOAT_EQ(plain.frequencies[2], 0.01F);
  EXPECT_EQ(plain.attention_factor, 1.0F);
  rope.kind = RopeConfig::Kind::kLinear;
  rope.factor = 4;
  EXPECT_FLOAT_EQ(compute_rope(rope, 8, 100).frequencies[2], 0.0025F);
  rope.kind = RopeConfig::Kind::kDynamic;
  rope.original_max_position_embeddings = 64;
  EXPECT_EQ(compute_rope(rope, 8, 64).frequencies, plain.frequencies);
  // theta * (factor * length / trained - (factor - 1))^(d / (d - 2)) with length 128: (4 * 2 - 3)^(8 / 6)
  const double theta = 10000 * std::pow(5.0, 8.0 / 6);
  EXPECT_FLOAT_EQ(compute_rope(rope, 8, 128).frequencies[3], static_cast<float>(std::pow(theta, -0.75)));
  EXPECT_TRUE(depends_on_length(rope));
}

/// The configuration of an op-golden; its rotated part is the whole head here.
RopeConfig config_of(const file::Json& parameters) {
  RopeConfig rope;
  const std::string type = parameters.at("rope_type");
  rope.kind = type == "llama3" ? RopeConfig::Kind::kLlama3
              : type == "yarn" ? RopeConfig::Kind::kYarn
                               : RopeConfig::Kind::kDefault;
  rope.theta = parameters.value("rope_theta", 10000.0);
  rope.factor = parameters.value("factor", 1.0);
  rope.low_freq_factor = parameters.value("low_freq_factor", 1.0);
  rope.high_freq_factor = parameters.value("high_freq_factor", 4.0);
  rope.original_max_position_embeddings = parameters.value("original_max_position_embeddings", 0);
  return rope;
}

/// vLLM's table of cos and sin: [positions, rotary_dim], first half cos, second half sin.
TEST(RopeOpGoldens, TablesOfLlama3AndYarn) {
  AWQ_REQUIRE_SHARED(folder, "op-goldens");
  for (const char* name : {"long_rope_llama3_neox_f32_bands", "long_rope_yarn_neox_f32_truncate"}) {
    const file::Json args = file::read_json_file(folder / name / "manifest.json").at("args");
    const file::Json& parameters = args.at("rope_parameters");
    const std::vector<float> expected = test::read_npy(folder / name / "cos_sin_cache.npy");
    const std::int64_t rotary = parameters.at("rope_dim");
    const std::int64_t positions = args.at("max_position");
    const RopeFrequencies rope = compute_rope(config_of(parameters), rotary, positions);
    const auto table = ops::RopeTable::make(rope.frequencies, rope.attention_factor, positions);
    const auto half = static_cast<std::size_t>(rotary / 2);
    ASSERT_GE(expected.size(), static_cast<std::size_t>(positions) * 2 * half);
    for (std::size_t p = 0; p < static_cast<std::size_t>(positions); ++p) {
      for (std::size_t j = 0; j < half; ++j) {
        ASSERT_NEAR(table.cosine[p * half + j], expected[p * 2 * half + j], tolerance::kOpGolden) << name << " " << p;
        ASSERT_NEAR(table.sine[p * half + j], expected[p * 2 * half + half + j], tolerance::kOpGolden) << name;
      }
    }
  }
}

/// Rotates the first rotary_dim of each head, as the golden does, by copying that part out and back.
std::vector<float> rotate(const std::vector<float>& x, std::size_t rows, std::size_t head_dim, std::size_t rotary,
                          const std::vector<std::int64_t>& positions, const ops::RopeTable& table) {
  std::vector<float> out = x;
  const std::size_t heads = x.size() / rows / head_dim;
  for (std::size_t t = 0; t < rows; ++t) {
    for (std::size_t h = 0; h < heads; ++h) {
      float* head = out.data() + (t * heads + h) * head_dim;
      std::vector<float> part(head, head + rotary);
      ops::apply_rope(part.data(), 1, 1, static_cast<std::int64_t>(rotary), &positions[t], table);
      std::copy(part.begin(), part.end(), head);
    }
  }
  return out;
}

TEST(RopeOpGoldens, RotatedQueriesAndKeys) {
  AWQ_REQUIRE_SHARED(folder, "op-goldens");
  struct Golden {
    const char* name;
    std::size_t head_dim, rotary;
    RopeConfig rope;
  };
  RopeConfig llama3{.kind = RopeConfig::Kind::kLlama3, .factor = 4};
  llama3.original_max_position_embeddings = 32;
  RopeConfig yarn{.kind = RopeConfig::Kind::kYarn, .factor = 4};
  yarn.original_max_position_embeddings = 32;
  for (const Golden& golden : {Golden{"rope_f32_pos_short", 64, 32, {}}, Golden{"rope_f32_pos_131k", 64, 32, {}},
                               Golden{"long_rope_llama3_neox_f32_bands", 24, 16, llama3},
                               Golden{"long_rope_yarn_neox_f32_truncate", 16, 8, yarn}}) {
    const auto read = [&](const char* file) { return test::read_npy(folder / golden.name / file); };
    const file::Json tolerances = file::read_json_file(folder / golden.name / "manifest.json").at("tol");
    std::vector<std::int64_t> positions;
    for (const float p : read("positions.npy")) positions.push_back(static_cast<std::int64_t>(p));
    const std::int64_t length = *std::max_element(positions.begin(), positions.end()) + 1;
    const RopeFrequencies rope = compute_rope(golden.rope, static_cast<std::int64_t>(golden.rotary), length);
    const auto table = ops::RopeTable::make(rope.frequencies, rope.attention_factor, length);
    for (const char* which : {"q", "k"}) {
      const std::vector<float> x = read((std::string(which) + "_in.npy").c_str());
      const std::vector<float> expected = read((std::string(which) + "_out.npy").c_str());
      const std::vector<float> got = rotate(x, positions.size(), golden.head_dim, golden.rotary, positions, table);
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double bound =
            tolerances.at("atol").get<double>() + tolerances.at("rtol").get<double>() * std::fabs(expected[i]);
        ASSERT_NEAR(got[i], expected[i], bound) << golden.name << " " << which << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace awq::model
