// The steps of the engine without its thread.

#include "engine/engine_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>

#include "awq/error.h"
#include "base/check.h"
#include "engine/test_support.h"

namespace awq::engine {
namespace {

using test::FakeModel;
using test::kShape;
using test::Recorder;
using test::request_of;

TEST(EngineCore, ConstraintsDictateAndEnd) {
  struct Dictation : TokenConstraint {
    std::size_t at = 0;
    std::vector<std::int32_t> ids = {4, 9, 2};
    void allowed(std::span<std::uint32_t> mask) override {
      std::fill(mask.begin(), mask.end(), 0U);
      mask[0] = 1U << ids.at(at);
    }
    void accept(std::int32_t id) override {
      AWQ_CHECK(id == ids.at(at));
      ++at;
    }
    bool finished() const override { return at == ids.size(); }
  };
  FakeModel model(kShape);
  EngineOptions options;
  options.max_num_seqs = 4;
  options.spec_tokens = 2;
  EngineCore core(model, options, {1, 2});
  const auto sink = std::make_shared<Recorder>();
  Request request = request_of(1, 20);
  request.n = 2;
  request.make_constraint = [] { return std::make_unique<Dictation>(); };
  core.add(make_request(1, std::move(request), sink));
  StepReport report;
  while (!core.idle()) core.step(report);
  for (const std::int64_t choice : {0, 1}) {
    EXPECT_EQ(sink->choices[choice].ids, (std::vector<std::int32_t>{4, 9, 2}));
    EXPECT_EQ(sink->choices[choice].finish, FinishReason::kStop);
  }
  core.check();
}

/// A pattern ends the choice with its last token, and not before min_tokens.
TEST(EngineCore, RepetitionEndsAChoice) {
  for (const std::int64_t min_tokens : {0, 5}) {
    FakeModel model(kShape);
    EngineOptions options;
    EngineCore core(model, options, {1, 2});
    const auto sink = std::make_shared<Recorder>();
    Request request = request_of(1, 20);
    request.sampling.allowed_token_ids = {4};
    request.sampling.min_tokens = min_tokens;
    request.sampling.repetition = {.max_pattern_size = 2, .min_count = 3};
    core.add(make_request(1, std::move(request), sink));
    StepReport report;
    while (!core.idle()) core.step(report);
    EXPECT_EQ(sink->choices[0].ids, std::vector<std::int32_t>(min_tokens == 0 ? 3 : 5, 4));
    EXPECT_EQ(sink->choices[0].finish, FinishReason::kRepetition);
    EXPECT_EQ(core.stats().finished_repetition, 1U);
    core.check();
  }
}

TEST(EngineCore, ExpensiveConstraintsTakeTurnsAndTheOthersGoOn) {
  constexpr std::uint64_t kMost = 1000;
  struct Costly : TokenConstraint {
    explicit Costly(std::uint64_t cost, std::uint64_t& all) : cost_(cost), all_(all) {}
    void allowed(std::span<std::uint32_t> mask) override {
      std::fill(mask.begin(), mask.end(), ~0U);
      mask.back() &= (1U << (20 % 32)) - 1;
      work_ += cost_;
      all_ += cost_;
    }
    void accept(std::int32_t) override {}
    bool finished() const override { return false; }
    std::uint64_t work() const override { return work_; }
    std::uint64_t cost_, work_ = 0;
    std::uint64_t& all_;
  };
  FakeModel model(kShape);
  EngineOptions options{.max_num_seqs = 16, .spec_tokens = 2};
  options.constraint_work_per_step = kMost;
  EngineCore core(model, options, {1, 2});
  std::uint64_t work = 0;
  std::vector<std::shared_ptr<Recorder>> sinks;
  constexpr std::int64_t kTokens = 20;
  for (RequestId id = 0; id < 14; ++id) {
    Request request = request_of(id, kTokens);
    // The first two are cheap and without a constraint.
    if (id > 0) request.make_constraint = [&, id] { return std::make_unique<Costly>(id == 1 ? 10 : 400, work); };
    sinks.push_back(std::make_shared<Recorder>());
    core.add(make_request(id + 1, std::move(request), sinks.back()));
  }
  StepReport report;
  std::uint64_t most = 0;
  for (std::int64_t step = 1; core.step(report); ++step) {
    // Whoever is not expensive has a token of every step, or more by guesses.
    for (const std::size_t cheap : {0U, 1U})
      EXPECT_GE(static_cast<std::int64_t>(sinks[cheap]->choices[0].ids.size()), std::min(step, kTokens)) << cheap;
    if (step > 1) most = std::max(most, work);
    // In the first step nobody was expensive yet.
    EXPECT_LE(work, step == 1 ? 4 * kMost + 400 * 3 : kMost + 400 * 3);
    work = 0;
  }
  EXPECT_GE(most, kMost);
  core.check();
  for (RequestId id = 0; id < sinks.size(); ++id)
    EXPECT_EQ(sinks[id]->choices[0].ids, test::run_alone(model, request_of(id, kTokens), 0)) << id;
}

TEST(EngineCore, APrefixIsFoundAgainUnlessTheSaltDiffers) {
  FakeModel model(kShape);
  EngineOptions options;
  options.max_num_seqs = 4;
  EngineCore core(model, options, {1, 2});
  const auto run = [&](RequestId id, const std::string& salt) {
    Request request;
    for (std::int32_t i = 0; i < 21; ++i) request.prompt.push_back(i % 20);
    request.cache_salt = salt;
    const auto sink = std::make_shared<Recorder>();
    core.add(make_request(id, std::move(request), sink));
    StepReport report;
    while (!core.idle()) core.step(report);
    return sink->choices[0].cached_tokens;
  };
  EXPECT_EQ(run(1, ""), 0);
  EXPECT_EQ(run(2, ""), 20);
  EXPECT_EQ(run(3, "other"), 0);
  EXPECT_EQ(run(4, "other"), 20);
  EXPECT_EQ(core.stats().prefix_cache_hits, 40U);
  EXPECT_EQ(core.stats().prefix_cache_queries, 84U);
}

TEST(EngineCore, LeavingTheQueueCostsTheSameHoweverManyWait) {
  // Looking through all who wait for each of 200,000 choices would take 20 thousand million looks, or ten seconds.
  FakeModel model(kShape);
  EngineCore core(model, {.max_num_seqs = 8}, {});
  constexpr RequestId kRequests = 200;
  for (RequestId id = 1; id <= kRequests; ++id) {
    Request request = request_of(id, 2);
    request.n = 1024;
    core.add(make_request(id, std::move(request), std::make_shared<test::Waiter>(request.n)));
    if (id % 2 == 0) core.set_paused(id, true);
  }
  EXPECT_EQ(core.stats().waiting, kRequests * 512);
  const auto begin = std::chrono::steady_clock::now();
  for (RequestId id = 1; id <= kRequests; ++id) core.cancel(id);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  EXPECT_LT(seconds.count(), 20);
#else
  EXPECT_LT(seconds.count(), 3);
#endif
  core.check();
  EXPECT_EQ(core.stats().finished_abort, kRequests * 1024);
  EXPECT_EQ(core.stats().waiting + core.stats().paused, 0);
}

TEST(EngineCore, OptionsThatContradictEachOtherAreRefused) {
  FakeModel model(kShape);
  const auto refused = [&](const std::function<void(EngineOptions&)>& change) {
    EngineOptions options;
    change(options);
    EXPECT_THROW(EngineCore(model, options, {}), Error);
  };
  refused([](EngineOptions& o) { o.max_num_batched_tokens = o.max_num_seqs; });
  refused([](EngineOptions& o) { o.max_num_seqs = 0; });
  refused([](EngineOptions& o) { o.spec_tokens = 16; });
  refused([](EngineOptions& o) { o.max_model_len = 65; });
  refused([](EngineOptions& o) { o.spec_ngram_min = 0; });
  FakeModel::Shape small = kShape;
  small.blocks = 3;
  FakeModel tight(small);
  EXPECT_THROW(EngineCore(tight, {.max_model_len = 13}, {}), Error);
  EXPECT_EQ(EngineCore(tight, {.max_model_len = 12}, {}).options().max_model_len, 12);
  // Where nobody says how long a sequence is, it is as long as fits.
  EXPECT_EQ(EngineCore(tight, {}, {}).options().max_model_len, 12);
  EXPECT_EQ(EngineCore(tight, {}, {}).options().limits.max_model_len, 12);
  EXPECT_EQ(EngineCore(model, {}, {}).options().max_model_len, 64);
}

}  // namespace
}  // namespace awq::engine
