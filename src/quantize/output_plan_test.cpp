#include "quantize/output_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "awq/error.h"
#include "support/checkpoints.h"
#include "support/paths.h"

namespace awq::quantize {
namespace {

model::ModelFiles golden(const char* family) {
  return model::ModelFiles::open(std::filesystem::path(AWQ_SOURCE_DIR) / "tests/golden/models" / family);
}

QuantizeOptions options(std::int64_t group_size = 32) {
  QuantizeOptions out;
  out.group_size = group_size;
  return out;
}

std::set<std::string> names_of(const OutputPlan& plan) {
  std::set<std::string> out;
  for (const auto& shard : plan.checkpoint.shards) {
    for (const auto& tensor : shard.layout.tensors) EXPECT_TRUE(out.insert(tensor.name).second) << tensor.name;
  }
  return out;
}

TEST(OutputPlan, HasEveryTensorOnce) {
  for (const auto& folder : test::golden_models()) {
    const model::ModelFiles files = model::ModelFiles::open(folder);
    // One group per row fits every width.
    const OutputPlan plan = plan_output(files, options(-1));
    const std::set<std::string> names = names_of(plan);
    const std::vector<std::string> quantized = plan.quantized_modules();
    EXPECT_EQ(quantized.size(), plan.linears.size());
    for (const auto& tensor : files.checkpoint().tensors()) {
      const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
      const bool packed =
          tensor.name.ends_with(".weight") && std::find(quantized.begin(), quantized.end(), module) != quantized.end();
      EXPECT_EQ(names.contains(tensor.name), !packed) << tensor.name;
      EXPECT_TRUE(!packed || names.contains(module + ".qweight")) << tensor.name;
    }
  }
}

TEST(OutputPlan, ShardsKeepTheLimitAndNumberThemselves) {
  const model::ModelFiles files = golden("llama");
  QuantizeOptions small = options();
  small.max_shard_bytes = 16384;
  const OutputPlan plan = plan_output(files, small);
  const OutputPlan whole = plan_output(files, options());
  ASSERT_EQ(whole.checkpoint.shards.size(), 1U);
  EXPECT_EQ(whole.checkpoint.shards[0].file_name, "model.safetensors");
  EXPECT_EQ(whole.checkpoint.index_json(), "");
  const std::size_t count = plan.checkpoint.shards.size();
  ASSERT_GT(count, 2U);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto& shard = plan.checkpoint.shards[i];
    char expected[64];
    std::snprintf(expected, sizeof(expected), "model-%05zu-of-%05zu.safetensors", i + 1, count);
    EXPECT_EQ(shard.file_name, expected);
    std::uint64_t of_shard = 0;
    for (const auto& tensor : shard.layout.tensors) of_shard += tensor.size_bytes();
    EXPECT_TRUE(of_shard <= small.max_shard_bytes || shard.layout.tensors.size() == 1) << shard.file_name;
    bytes += of_shard;
  }
  EXPECT_EQ(bytes, plan.checkpoint.tensor_bytes);
  EXPECT_EQ(bytes, whole.checkpoint.tensor_bytes);
  EXPECT_EQ(names_of(plan), names_of(whole));
  const auto index = file::parse_json(plan.checkpoint.index_json(), "index");
  EXPECT_EQ(index.at("metadata").at("total_size"), bytes);
  EXPECT_EQ(index.at("weight_map").size(), names_of(plan).size());
}

TEST(OutputPlan, FusedLinearsStayTogether) {
  QuantizeOptions skip = options();
  skip.skip = {"model.layers.1.self_attn.k_proj", "*.0.mlp.up_proj"};
  const OutputPlan plan = plan_output(golden("llama"), skip);
  std::set<std::string> kept;
  for (const PlannedLinear& linear : plan.linears) {
    if (!linear.kept_because.empty()) kept.insert(linear.module);
  }
  EXPECT_EQ(kept, (std::set<std::string>{"model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj",
                                         "model.layers.1.self_attn.k_proj", "model.layers.1.self_attn.q_proj",
                                         "model.layers.1.self_attn.v_proj"}));
  const auto roles = plan.quantized_roles(1);
  EXPECT_FALSE(roles[static_cast<std::size_t>(model::Role::kQ)]);
  EXPECT_TRUE(roles[static_cast<std::size_t>(model::Role::kO)]);
}

TEST(OutputPlan, WhatDoesNotFitTheGroupStays) {
  // mistral: hidden 48 is no multiple of 32; only down_proj, with 96 inputs, fits.
  const OutputPlan plan = plan_output(golden("mistral"), options(32));
  for (const PlannedLinear& linear : plan.linears) {
    EXPECT_EQ(linear.kept_because.empty(), linear.module.ends_with("down_proj")) << linear.module;
  }
  QuantizeOptions none = options(32);
  none.skip = {"*"};
  try {
    plan_output(golden("llama"), none);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

TEST(OutputPlan, RefusesOptionsThatNoOutputCanHave) {
  const model::ModelFiles files = golden("llama");
  const auto code_of = [&](const QuantizeOptions& o) {
    try {
      plan_output(files, o);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  QuantizeOptions o = options(7);
  EXPECT_EQ(code_of(o), ErrorCode::kInvalidArgument);
  o = options();
  o.bits = 5;
  EXPECT_EQ(code_of(o), ErrorCode::kInvalidArgument);
  o = options();
  o.method = "gguf";
  EXPECT_EQ(code_of(o), ErrorCode::kInvalidArgument);
  o = options();
  o.format = "gguf";
  EXPECT_EQ(code_of(o), ErrorCode::kInvalidArgument);
  o = options();
  o.bits = 3;  // the gemm layout holds 4 bits only
  EXPECT_EQ(code_of(o), ErrorCode::kInvalidArgument);
}

QuantizeOptions compressed(int embed_bits, int head_bits, double target_bpw = 0) {
  QuantizeOptions out = options();
  out.format = "compressed-tensors";
  out.embed_bits = embed_bits;
  out.head_bits = head_bits;
  out.target_bpw = target_bpw;
  return out;
}

std::string refusal(const model::ModelFiles& files, const QuantizeOptions& o) {
  try {
    plan_output(files, o);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(OutputPlan, EmbeddingAndHeadInEightBits) {
  const model::ModelFiles files = golden("llama");
  ASSERT_NE(files.head_module(), files.embedding_module());
  for (const int embed_bits : {8, 16}) {
    for (const int head_bits : {8, 16}) {
      const OutputPlan plan = plan_output(files, compressed(embed_bits, head_bits));
      const std::set<std::string> names = names_of(plan);
      EXPECT_EQ(names.contains("model.embed_tokens.weight_packed"), embed_bits == 8);
      EXPECT_EQ(names.contains("model.embed_tokens.weight"), embed_bits == 16);
      EXPECT_EQ(names.contains("lm_head.weight_packed"), head_bits == 8);
      EXPECT_EQ(names.contains("lm_head.weight"), head_bits == 16);
      EXPECT_TRUE(plan.has_own_head(files));
      EXPECT_EQ(plan.kept_modules(files).size(), head_bits == 16 ? 1U : 0U);
      EXPECT_EQ(plan.quantized_embedding(files) != nullptr, embed_bits == 8);
    }
  }
}

TEST(OutputPlan, OneTensorThatIsBothHasOneWidth) {
  const model::ModelFiles files = golden("qwen3");
  ASSERT_EQ(files.head_module(), files.embedding_module());
  EXPECT_NE(refusal(files, compressed(8, 16)).find("one tensor"), std::string::npos);
  EXPECT_NE(refusal(files, compressed(16, 8)).find("one tensor"), std::string::npos);
  const OutputPlan plan = plan_output(files, compressed(8, 8));
  ASSERT_EQ(plan.vocabulary.size(), 1U);
  EXPECT_EQ(plan.vocabulary.front().module, "model.embed_tokens");
  EXPECT_FALSE(plan.has_own_head(files));
  // No head of its own: then it is not to be looked for among the quantized linears.
  EXPECT_EQ(plan.kept_modules(files), (std::vector<std::string>{"lm_head"}));
}

TEST(OutputPlan, RefusesWidthsThatTheFormatCannotHold) {
  const model::ModelFiles files = golden("llama");
  for (QuantizeOptions o : {compressed(8, 16), compressed(16, 8), compressed(16, 16, 6)}) {
    o.format = "awq";
    EXPECT_NE(refusal(files, o).find("--format compressed-tensors can"), std::string::npos);
    o.format = "";
    o.method = "fp8";
    refusal(files, o);
  }
  EXPECT_NE(refusal(files, compressed(4, 16)).find("--embed-bits 4: expected 8 or 16"), std::string::npos);
  EXPECT_NE(refusal(files, compressed(16, 0)).find("--head-bits 0"), std::string::npos);
  EXPECT_NE(refusal(files, compressed(16, 16, -1)).find("--target-bpw -1"), std::string::npos);
  QuantizeOptions o = compressed(16, 16, 6);
  o.bits = 8;
  EXPECT_NE(refusal(files, o).find("--bits must be less"), std::string::npos);
  o = compressed(16, 16, 6);
  o.method = "rtn";
  EXPECT_NE(refusal(files, o).find("calibration"), std::string::npos);
}

TEST(OutputPlan, WideSites) {
  const model::ModelFiles files = golden("llama");
  const OutputPlan plan = plan_output(files, compressed(16, 16), {{1, model::Site::kMlpInput}});
  EXPECT_EQ(plan.wide_modules(),
            (std::vector<std::string>{"model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"}));
  const formats::QuantizationSummary summary = plan.summary(files);
  ASSERT_EQ(summary.other_linears.size(), 1U);
  EXPECT_EQ(summary.other_linears.front().scheme, (quant::Scheme{.bits = 8, .group_size = 32, .symmetric = true}));
  EXPECT_EQ(summary.quantized_modules.size() + 2, plan.linears.size());
  WideSites all;
  for (const PlannedLinear& linear : plan.linears) all.emplace(linear.layer, linear.spec->input);
  const formats::QuantizationSummary only_wide = plan_output(files, compressed(16, 16), all).summary(files);
  EXPECT_EQ(only_wide.scheme.bits, 8);
  EXPECT_TRUE(only_wide.other_linears.empty());
}

}  // namespace
}  // namespace awq::quantize
