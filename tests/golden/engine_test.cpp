// The engine over real models, as stored and as awq run takes them by default (4-bit weights, 8-bit activations): the
// same tokens alone, in a crowd, after preemption, with and without prefix cache and speculation, on one thread and on
// two; and steps that allocate nothing.

#include "engine/engine_core.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/random.h"
#include "engine/language_step_model.h"
#include "ops/gemm.h"
#include "quantize/simulated_model.h"
#include "support/checkpoints.h"
#include "support/logits.h"
#include "support/paths.h"

namespace {
std::atomic<std::int64_t> g_allocations{0};
}  // namespace

// Counts what the whole program allocates; plain malloc below, so that sanitizers still see it. Not inlined: GCC 12
// would warn that memory from new meets free().
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++g_allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace awq::engine {
namespace {

using Ids = std::vector<std::int32_t>;

struct Sink : RequestSink {
  Ids ids;
  FinishReason finish = FinishReason::kNone;
  std::int64_t cached = 0;
  std::vector<float> prompt_logprobs;
  Sink() { ids.reserve(1024); }
  void on_token(const TokenEvent& event) override {
    if (event.token_id >= 0) ids.push_back(event.token_id);
    finish = event.finish;
    cached = event.cached_tokens;
  }
  void on_prompt_logprob(const PromptLogprob& p) override { prompt_logprobs.push_back(p.logprob.logprob); }
};

/// A model folder and how its weights and activations are to be taken.
struct Variant {
  std::string name;
  std::filesystem::path folder;
  std::int64_t group_size = 0;  ///< of 4-bit weights, rounded in memory; 0: weights as stored, binary32 activations
  ops::ActivationPrecision activations = ops::ActivationPrecision::kF32;
  bool int8_head = false;
};

std::vector<Variant> variants() {
  std::vector<Variant> out;
  for (const auto& folder : test::golden_models()) out.push_back({folder.filename().string(), folder});
  const std::filesystem::path golden = out.front().folder.parent_path();
  const std::filesystem::path books = std::filesystem::path(AWQ_SOURCE_DIR) / "models/books-12m";
  constexpr auto kInt8 = ops::ActivationPrecision::kInt8;
  out.push_back({"books_12m", books});
  out.push_back({"llama_w4_int8_head", golden / "llama", 32, kInt8, true});
  out.push_back({"qwen2_w4_int8", golden / "qwen2", 32, kInt8});
  out.push_back({"books_12m_w4_int8", books, 128, kInt8});
  out.push_back({"books_12m_w4_int8_head", books, 128, kInt8, true});
  out.push_back({"qwen3_w4_int15", golden / "qwen3", 32, ops::ActivationPrecision::kInt15});
  out.push_back({"qwen3_w4_f32", golden / "qwen3", 32});
  return out;
}

model::LanguageModel load(const Variant& variant) {
  const model::ModelFiles files = model::ModelFiles::open(variant.folder);
  if (variant.group_size == 0) return model::LanguageModel(files, variant.int8_head);
  QuantizeOptions options;
  options.method = "rtn";
  options.group_size = variant.group_size;
  options.format = "compressed-tensors";
  return model::LanguageModel(quantize::SimulatedModel(files, options), variant.int8_head);
}

class EngineOnModel : public testing::TestWithParam<Variant> {
 protected:
  model::LanguageModel model_ = load(GetParam());

  void SetUp() override { ops::set_activation_precision(GetParam().activations); }
  void TearDown() override { ops::set_activation_precision(ops::ActivationPrecision::kF32); }

  EngineOptions options() const {
    EngineOptions o;
    o.max_model_len = std::min<std::int64_t>(cached_context(model_.config()), 128);
    return o;
  }
  /// Prompt `i`, of 1 to 60 tokens; the end repeats the start, so that guesses have something to find.
  Request request(std::uint64_t i, std::int64_t max_tokens) const {
    Request r;
    const std::uint64_t length = 1 + random_bits(1, i) % 60;
    for (std::uint64_t t = 0; t < length; ++t) {
      r.prompt.push_back(
          static_cast<std::int32_t>(random_bits(i, t % 20) % static_cast<std::uint64_t>(model_.config().vocab_size)));
    }
    r.sampling.max_tokens = max_tokens;
    r.sampling.ignore_eos = true;
    r.sampling.temperature = i % 2 == 0 ? 0 : 1;
    r.sampling.seed = i;
    return r;
  }
  /// Tokens of requests first .. last - 1, run together.
  std::vector<Ids> run(const EngineOptions& options, std::uint64_t first, std::uint64_t last,
                       EngineStats* stats = nullptr) {
    LanguageStepModel step_model(model_, options);
    EngineCore core(step_model, options, {1, 2});
    std::vector<std::shared_ptr<Sink>> sinks;
    for (std::uint64_t i = first; i < last; ++i) {
      sinks.push_back(std::make_shared<Sink>());
      core.add(make_request(i + 1, request(i, kTokens), sinks.back()));
    }
    StepReport report;
    while (!core.idle()) core.step(report);
    core.check();
    if (stats != nullptr) *stats = core.stats();
    std::vector<Ids> out;
    for (const auto& sink : sinks) {
      EXPECT_EQ(sink->finish, FinishReason::kLength);
      out.push_back(sink->ids);
    }
    return out;
  }
  static constexpr std::int64_t kTokens = 24;
};

TEST_P(EngineOnModel, RunsTheVariantThatItIsNamedFor) {
  const bool quantized = GetParam().group_size != 0;
  for (const model::DecoderLayer& layer : model_.layers()) {
    for (const ops::Linear& linear : layer.linears) EXPECT_EQ(linear.packed_bits(), quantized ? 4 : 0);
  }
  EXPECT_EQ(model_.head().packed_bits(), GetParam().int8_head ? 8 : 0);
  EXPECT_EQ(model_.layers()[0][model::Role::kQ].row_invariant(),
            GetParam().activations != ops::ActivationPrecision::kF32);
}

TEST_P(EngineOnModel, TheSameTokensWhateverRunsBeside) {
  constexpr std::uint64_t kCrowd = 64;
  std::vector<Ids> alone;
  for (std::uint64_t i = 0; i < 8; ++i) alone.push_back(run(options(), i, i + 1)[0]);
  const auto expect_same = [&](const std::vector<Ids>& got, const char* how) {
    for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(got[i], alone[i]) << how << ", request " << i;
  };
  expect_same(run(options(), 0, kCrowd), "in a crowd");

  EngineOptions small_steps = options();
  small_steps.max_num_seqs = 5;
  small_steps.max_num_batched_tokens = 11;
  small_steps.prefix_caching = false;
  expect_same(run(small_steps, 0, 16), "in small steps without prefix cache");

  EngineStats stats;
  EngineOptions short_of_blocks = options();
  short_of_blocks.kv_cache_memory_bytes = 12 * model::KvPool::block_bytes(model_.config(), ops::KvDtype::kF32);
  expect_same(run(short_of_blocks, 0, 16, &stats), "short of blocks");
  EXPECT_GT(stats.preemptions, 0U);

  EngineOptions guessing = options();
  guessing.spec_tokens = 4;
  guessing.spec_ngram_min = 1;
  expect_same(run(guessing, 0, 16, &stats), "with speculation");
  EXPECT_GT(stats.spec_draft_tokens, 0U);

  ops::configure_threads(1);
  expect_same(run(options(), 0, 16), "on one thread");
  ops::configure_threads(1, 2);
  expect_same(run(options(), 0, 16), "prompts on one thread, decoded on two");
  ops::configure_threads(2, 1);
  expect_same(run(options(), 0, 16), "prompts on two threads, decoded on one");
  EXPECT_EQ(omp_get_max_threads(), 1);  // what the last step was
  ops::configure_threads(2);
  expect_same(run(options(), 0, 16), "on two threads");
}

TEST_P(EngineOnModel, EightBitCacheIsAsRepeatable) {
  for (const ops::KvDtype dtype : {ops::KvDtype::kInt8, ops::KvDtype::kFp8, ops::KvDtype::kF16}) {
    EngineOptions o = options();
    o.kv_dtype = dtype;
    std::vector<Ids> alone;
    for (std::uint64_t i = 0; i < 3; ++i) alone.push_back(run(o, i, i + 1)[0]);
    o.max_num_batched_tokens = 70;
    const std::vector<Ids> crowd = run(o, 0, 12);
    for (std::size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(crowd[i], alone[i]);
  }
}

TEST_P(EngineOnModel, PromptLogprobsAreThoseOfTheLogits) {
  Request r = request(3, 0);
  while (r.prompt.size() < 40) r.prompt.push_back(r.prompt.front());
  r.sampling.max_tokens = 0;
  r.sampling.prompt_logprobs = 0;
  const Ids prompt = r.prompt;
  EngineOptions o = options();
  o.max_num_seqs = 2;
  o.max_num_batched_tokens = 9;
  LanguageStepModel step_model(model_, o);
  EngineCore core(step_model, o, {1, 2});
  const auto sink = std::make_shared<Sink>();
  core.add(make_request(1, std::move(r), sink));
  StepReport report;
  while (!core.idle()) core.step(report);
  EXPECT_EQ(sink->finish, FinishReason::kLength);
  EXPECT_TRUE(sink->ids.empty());
  ASSERT_EQ(sink->prompt_logprobs.size(), prompt.size() - 1);
  const std::vector<float> logits = test::all_logits(model_, prompt);
  const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
  Sampler sampler(model_.config().vocab_size, {});
  std::span<const TokenLogprob> top;
  for (std::size_t p = 1; p < prompt.size(); ++p) {
    const auto row = std::span(logits).subspan((p - 1) * vocab, vocab);
    EXPECT_EQ(sink->prompt_logprobs[p - 1], sampler.logprob(row, prompt[p], 0, top).logprob);
  }
}

std::int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

[[maybe_unused]] std::int64_t median(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

TEST_P(EngineOnModel, StepsAllocateNothing) {
  EngineOptions o = options();
  o.max_num_seqs = 4;
  o.max_num_batched_tokens = 64;
  o.prefix_caching = false;
  LanguageStepModel step_model(model_, o);
  EngineCore core(step_model, o, {1, 2});
  // On a thread of its own, as in the server: nothing is left there from other tests.
  std::thread([&] {
    ops::adopt_threads();
    step_model.prepare();
    const std::uint64_t pages = page_allocations();
    std::vector<std::int64_t> prefill_faults, decode_faults;
    for (auto* faults : {&prefill_faults, &decode_faults}) faults->reserve(1024);
    for (int round = 0; round < 6; ++round) {
      std::vector<std::shared_ptr<Sink>> sinks;
      for (std::uint64_t i = 0; i < 4; ++i) {
        Request r = request(i, 16);
        while (r.prompt.size() < 40) r.prompt.push_back(r.prompt.front());
        sinks.push_back(std::make_shared<Sink>());
        core.add(make_request(static_cast<RequestId>(round) * 4 + i + 1, std::move(r), sinks.back()));
      }
      const std::int64_t heap = g_allocations;
      std::int64_t faults = page_faults();
      StepReport report;
      while (!core.idle()) {
        core.step(report);
        const std::int64_t now = page_faults();
        auto& of_kind = report.prompt_tokens > 0 ? prefill_faults : decode_faults;
        if (round > 0) of_kind.push_back(now - faults);
        faults = now;
      }
      for (const auto& sink : sinks) EXPECT_EQ(sink->ids.size(), 16U);
      if (round > 0) {
        EXPECT_EQ(g_allocations - heap, 0) << "round " << round;
      }
    }
    EXPECT_EQ(page_allocations(), pages);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // The operating system moves pages of its own accord, on a busy machine in many a step, but not in most.
    EXPECT_EQ(median(prefill_faults), 0);
    EXPECT_EQ(median(decode_faults), 0);
#endif
  }).join();
}

INSTANTIATE_TEST_SUITE_P(Models, EngineOnModel, testing::ValuesIn(variants()),
                         [](const auto& variant) { return variant.param.name; });

}  // namespace
}  // namespace awq::engine
