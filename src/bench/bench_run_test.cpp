#include "bench/bench_run.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "awq/error.h"
#include "base/cpu_features.h"
#include "bench/random_weights.h"
#include "model/language_model.h"
#include "support/temp_folder.h"

namespace awq::bench {
namespace {

constexpr const char* kConfig = R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64,
  "intermediate_size": 160, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
  "vocab_size": 300, "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": false})";

struct BenchRun : testing::Test {
  test::TempFolder folder;
  std::filesystem::path config = folder.path() / "config.json";
  BenchRun() { std::ofstream(config) << kConfig; }

  BenchOptions options() const {
    BenchOptions o;
    o.config = config;
    o.group_size = 32;
    o.prompt = 24;
    o.gen = 6;
    o.depth = 10;
    o.batches = {1, 3};
    o.repetitions = 2;
    o.read_bytes = 1 << 20;
    return o;
  }
};

ErrorCode code_of(const BenchOptions& options) {
  try {
    run(options);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST_F(BenchRun, FillsEveryNumber) {
  const BenchSummary s = run(options());
  EXPECT_EQ(s.architecture, "Qwen2ForCausalLM");
  EXPECT_EQ(s.layers, 3);
  EXPECT_GT(s.prefill_tokens_per_s, 0);
  EXPECT_GT(s.decode_tokens_per_s, 0);
  EXPECT_GT(s.matmul_peak_flops, 0);
  EXPECT_GT(s.prefill_peak_fraction, 0);
  EXPECT_LT(s.prefill_peak_fraction, 1);
  EXPECT_GT(s.decode_bandwidth_fraction, 0);
  EXPECT_GT(s.peak_rss_bytes, 0U);
  ASSERT_EQ(s.batch.size(), 2U);
  EXPECT_EQ(s.batch[1].rows, 3);
  ASSERT_EQ(s.linears.size(), 3U);  // 1, 3 and the prompt
  EXPECT_EQ(s.linears[2].rows, 24);
  EXPECT_FALSE(s.kernels.empty());
  for (const BenchKernel& kernel : s.kernels) EXPECT_FALSE(kernel.kernel.empty());
}

TEST_F(BenchRun, BytesPerTokenAreWeightsAndCache) {
  BenchOptions o = options();
  o.bits = 16;
  o.layers = 2;
  const BenchSummary s = run(o);
  EXPECT_EQ(s.layers, 2);
  // Two layers of bf16 linears with binary32 q, k and v biases, the head, and F16 keys and values at the middle of the
  // steps.
  const std::uint64_t layer = 64 * 64 * 2 + 2 * 32 * 64 + 3 * 64 * 160;
  const std::uint64_t weights = 2 * (layer * 2 + (64 + 32 + 32) * 4) + 300 * 64 * 2;
  EXPECT_EQ(s.decode_bytes_per_token, weights + 2 * (10 + 3) * 32 * 2 * 2);
  o.kv_dtype = "f32";
  EXPECT_EQ(run(o).decode_bytes_per_token, weights + 2 * (10 + 3) * 32 * 2 * 4);
}

TEST_F(BenchRun, Bf16WeightsAreAlsoTimedWithBf16Products) {
  BenchOptions o = options();
  EXPECT_TRUE(run(o).linears_bf16.empty());  // 4 bits
  o.bits = 16;
  const BenchSummary s = run(o);
  if (!has_native_bf16()) {
    EXPECT_TRUE(s.linears_bf16.empty());
    return;
  }
  ASSERT_EQ(s.linears_bf16.size(), 1U);  // more than eight rows: the prompt
  EXPECT_EQ(s.linears_bf16[0].rows, 24);
  EXPECT_GT(s.linears_bf16[0].flops, 0);
}

TEST_F(BenchRun, TheInt8HeadIsTheOneOfRun) {
  BenchOptions o = options();
  o.batches.clear();
  const std::uint64_t stored = run(o).decode_bytes_per_token;
  o.head = "int8";
  const RandomWeights source(model::read_config_file(config), {.bits = 4, .group_size = 32});
  const std::uint64_t head = model::LanguageModel(source, true).head().resident_bytes();
  EXPECT_EQ(run(o).decode_bytes_per_token, stored - 300 * 64 * 2 + head);
}

TEST_F(BenchRun, AWarmPrefillTakesNoPageFaults) {
  BenchOptions o = options();
  o.batches.clear();
  o.prompt = 300;
  o.repetitions = 9;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_EQ(run(o).prefill_page_faults_per_token, 0);  // of the median: the system moves pages of its own accord
#endif
}

TEST_F(BenchRun, RefusesBadOptions) {
  const auto changed = [&](auto change) {
    BenchOptions o = options();
    change(o);
    return code_of(o);
  };
  EXPECT_EQ(changed([](BenchOptions& o) { o.config.clear(); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.model = "x"; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.activations = "int7"; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.head = "int4"; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.kv_dtype = "f64"; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.bits = 9; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.group_size = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.layers = 4; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.prompt = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.gen = -1; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.batches = {1, 0}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.repetitions = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.read_bytes = 100; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(changed([](BenchOptions& o) { o.config += ".no"; }), ErrorCode::kNotFound);
}

TEST_F(BenchRun, RandomWeightsKeepActivationsNearOne) {
  for (const int bits : {3, 4, 8, 16}) {
    const RandomWeights source(model::read_config_file(config), {.bits = bits, .group_size = 32});
    EXPECT_EQ(source.load_layer(0)[model::Role::kQ].quantized.has_value(), bits != 16);
    EXPECT_FALSE(source.load_layer(0)[model::Role::kQ].bias.empty());
    model::LanguageModel model(source);
    model::KvCache cache(model.config(), 8);
    const std::vector<std::int32_t> ids = {1, 2, 3, 299};
    const model::SequenceSlice slice{.token_count = 4, .cache = &cache};
    double sum = 0;
    for (const float logit : model.forward(ids, {&slice, 1})) sum += static_cast<double>(logit) * logit;
    const double deviation = std::sqrt(sum / 300);
    EXPECT_GT(deviation, 0.1) << bits;
    EXPECT_LT(deviation, 10) << bits;
  }
}

TEST_F(BenchRun, GroupsThatDoNotDivideStayDense) {
  const RandomWeights source(model::read_config_file(config), {.bits = 4, .group_size = 64});
  const model::LayerWeights layer = source.load_layer(1);
  EXPECT_TRUE(layer[model::Role::kQ].quantized.has_value());
  EXPECT_FALSE(layer[model::Role::kDown].quantized.has_value());  // 160 inputs
  EXPECT_EQ(layer[model::Role::kDown].dtype, DType::kBf16);
}

TEST_F(BenchRun, EmbeddingsAreRowsOfTheMatrix) {
  const RandomWeights source(model::read_config_file(config), {});
  std::vector<float> row(64);
  const std::int32_t id = 7;
  source.embed({&id, 1}, row.data());
  const AlignedBuffer<float> all = source.load_embedding().to_floats();
  EXPECT_TRUE(std::equal(row.begin(), row.end(), all.data() + 7 * 64));
}

}  // namespace
}  // namespace awq::bench
