// The scheduler, the block manager and the core under random load, shortage, pauses and cancellation: whatever happens,
// no block is lost or used twice, nobody starves, and every sequence's tokens are those it has alone.

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/engine_core.h"
#include "engine/test_support.h"

namespace awq::engine {
namespace {

using test::FakeModel;
using test::Recorder;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kRuns = 4000;
#else
constexpr std::uint64_t kRuns = 100000;
#endif

/// A stream of small random numbers.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : seed_(seed) {}
  /// low .. high, both included.
  std::int64_t roll(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random_bits(seed_, counter_++) % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return roll(1, 100) <= percent; }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

struct Client {
  Request request;
  std::shared_ptr<Recorder> recorder;
  std::int64_t arrives = 0;
  std::int64_t cancels_at = -1;      ///< step; -1: never
  std::int64_t cancels_choice = -1;  ///< -1: all
  std::int64_t pauses_at = -1;       ///< step; -1: never
  std::int64_t resumes_at = -1;
  std::size_t seen = 0;  ///< tokens when the pause began
};

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed)
      : dice_(seed), shape_(random_shape()), model_(shape_), core_(model_, random_options(), {seed, ~seed}) {
    const std::int64_t count = dice_.roll(1, 6);
    for (std::int64_t i = 0; i < count; ++i) clients_.push_back(random_client());
  }

  void run() {
    std::int64_t most_steps = 0;
    bool in_order = true;
    for (const Client& c : clients_) {
      in_order = in_order && c.request.priority == 0;
      const std::int64_t tokens =
          c.request.n * (static_cast<std::int64_t>(c.request.prompt.size()) + c.request.sampling.max_tokens);
      // Who rests may lose all blocks and start again; beside that only the rest itself takes time.
      most_steps += c.pauses_at < 0 ? tokens : 2 * tokens + c.resumes_at - c.pauses_at;
    }
    // What a sequence of higher priority pushed aside starts again once more.
    most_steps = 20 + most_steps * (in_order ? 1 : 2);
    std::int64_t step = 0;
    for (; step < 20 || !core_.idle(); ++step) {
      // The oldest sequence gets on in every step, so all of them together need no more steps than they have tokens.
      ASSERT_LE(step, most_steps) << "starved";
      for (std::size_t i = 0; i < clients_.size(); ++i) {
        Client& c = clients_[i];
        const RequestId id = i + 1;
        if (c.arrives == step) core_.add(make_request(id, Request(c.request), c.recorder));
        if (c.cancels_at == step) core_.cancel(id, c.cancels_choice);
        if (c.resumes_at == step) {
          ASSERT_EQ(tokens_of(c), c.seen) << "a paused request went on";
          core_.set_paused(id, false);
        }
        if (c.pauses_at == step) {
          c.seen = tokens_of(c);
          core_.set_paused(id, true);
          rested_ += core_.stats().paused > 0 ? 1 : 0;
        }
      }
      StepReport report;
      core_.step(report);
      ASSERT_LE(report.tokens, core_.options().max_num_batched_tokens);
      ASSERT_LE(report.sequences, core_.options().max_num_seqs);
      if (step % 8 == 0) core_.check();
    }
    core_.check();
    expect_same_tokens();
  }

  EngineStats stats() const { return core_.stats(); }
  std::uint64_t rested() const { return rested_; }

 private:
  static std::size_t tokens_of(const Client& c) {
    std::size_t out = 0;
    for (const auto& [index, choice] : c.recorder->choices) out += choice.ids.size();
    return out;
  }
  FakeModel::Shape random_shape() {
    FakeModel::Shape shape;
    shape.block_size = dice_.roll(1, 4);
    shape.blocks = dice_.roll(4, 20);
    shape.max_model_len = std::min<std::int64_t>(24, shape.blocks * shape.block_size);
    shape.vocab = dice_.roll(2, 12);
    return shape;
  }
  EngineOptions random_options() {
    EngineOptions o;
    o.max_num_seqs = dice_.roll(1, 6);
    o.max_num_batched_tokens = o.max_num_seqs + dice_.roll(1, 10);
    o.prefix_caching = dice_.chance(75);
    o.spec_tokens = dice_.chance(50) ? dice_.roll(1, 4) : 0;
    o.spec_ngram_min = dice_.roll(1, 2);
    return o;
  }
  Client random_client() {
    Client c;
    c.recorder = std::make_shared<Recorder>();
    c.arrives = dice_.roll(0, 12);
    if (dice_.chance(15)) c.cancels_at = c.arrives + dice_.roll(0, 10);
    if (dice_.chance(25)) {
      c.pauses_at = c.arrives + dice_.roll(0, 10);
      c.resumes_at = c.pauses_at + dice_.roll(1, 15);
    }
    Request& r = c.request;
    // Few different texts, so that prefixes are shared, whole and in part.
    const auto text = static_cast<std::uint64_t>(dice_.roll(0, 1));
    const std::int64_t length = dice_.roll(1, shape_.max_model_len - 1);
    for (std::int64_t i = 0; i < length; ++i) {
      r.prompt.push_back(static_cast<std::int32_t>(random_bits(text, static_cast<std::uint64_t>(i)) %
                                                   static_cast<std::uint64_t>(shape_.vocab)));
    }
    if (dice_.chance(25)) r.prompt.back() = 0;
    if (dice_.chance(10)) r.cache_salt = "salt";
    r.priority = dice_.chance(10) ? dice_.roll(-1, 1) : 0;
    r.sampling.max_tokens = dice_.roll(0, shape_.max_model_len - length);
    r.sampling.temperature = dice_.chance(50) ? 0 : 1;
    r.sampling.seed = static_cast<std::uint64_t>(dice_.roll(0, 100));
    r.sampling.ignore_eos = dice_.chance(50);
    if (dice_.chance(20)) r.sampling.repetition_penalty = 1.3;
    if (dice_.chance(20)) r.sampling.stop_token_ids = {1};
    if (dice_.chance(10)) r.sampling.prompt_logprobs = 0;
    if (r.sampling.temperature != 0 && dice_.chance(30)) r.n = dice_.roll(2, 3);
    if (c.cancels_at >= 0 && dice_.chance(50)) c.cancels_choice = dice_.roll(0, r.n - 1);
    return c;
  }

  void expect_same_tokens() {
    for (const Client& c : clients_) {
      for (std::int64_t choice = 0; choice < c.request.n; ++choice) {
        ASSERT_TRUE(c.recorder->choices.contains(choice));
        const Recorder::Choice& got = c.recorder->choices[choice];
        ASSERT_NE(got.finish, FinishReason::kNone);
        ASSERT_NE(got.finish, FinishReason::kError) << got.error;
        const auto expected = test::run_alone(model_, c.request, choice);
        if (got.finish == FinishReason::kAbort) {
          ASSERT_LE(got.ids.size(), expected.size());
          ASSERT_TRUE(std::equal(got.ids.begin(), got.ids.end(), expected.begin()));
        } else {
          ASSERT_EQ(got.ids, expected);
        }
      }
      const bool complete = c.recorder->choices[0].finish != FinishReason::kAbort;
      if (c.request.sampling.prompt_logprobs.has_value() && complete) {
        ASSERT_EQ(c.recorder->prompt_logprobs.size(), c.request.prompt.size() - 1);
      }
    }
  }

  Dice dice_;
  FakeModel::Shape shape_;
  FakeModel model_;
  EngineCore core_;
  std::vector<Client> clients_;
  std::uint64_t rested_ = 0;  ///< pauses of requests that were not over
};

TEST(Simulation, EverySequenceEqualsItselfAlone) {
  EngineStats total;
  std::uint64_t rested = 0;
  for (std::uint64_t seed = 0; seed < kRuns; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(seed);
    ASSERT_NO_THROW(simulation.run());
    if (HasFatalFailure()) return;
    const EngineStats stats = simulation.stats();
    rested += simulation.rested();
    total.preemptions += stats.preemptions;
    total.prefix_cache_hits += stats.prefix_cache_hits;
    total.spec_accepted_tokens += stats.spec_accepted_tokens;
    total.spec_draft_tokens += stats.spec_draft_tokens;
    total.finished_abort += stats.finished_abort;
  }
  // The runs went where they should.
  EXPECT_GT(total.preemptions, kRuns / 10);
  EXPECT_GT(total.prefix_cache_hits, kRuns / 2);
  EXPECT_GT(total.spec_draft_tokens, total.spec_accepted_tokens);
  EXPECT_GT(total.spec_accepted_tokens, kRuns / 20);
  EXPECT_GT(total.finished_abort, kRuns / 10);
  EXPECT_GT(rested, kRuns / 5);
}

}  // namespace
}  // namespace awq::engine
