// Requests whose reader is behind: they rest, stand in nobody's way, and lose nothing.

#include <gtest/gtest.h>

#include <mutex>

#include "engine/engine.h"
#include "engine/engine_core.h"
#include "engine/test_support.h"

namespace awq::engine {
namespace {

using namespace std::chrono_literals;
using test::FakeModel;
using test::kShape;
using test::make_engine;
using test::Recorder;
using test::request_of;
using test::Waiter;

TEST(Engine, APausedRequestRestsAndGivesItsBlocksToOthers) {
  // Room for one sequence of 60 tokens: the second can run only with the blocks of the first, which rests.
  FakeModel model({.vocab = 20, .max_model_len = 64, .blocks = 16, .block_size = 4});
  EngineCore core(model, {.max_num_seqs = 1, .prefix_caching = false}, {});
  const auto first = std::make_shared<Recorder>(), second = std::make_shared<Recorder>();
  core.add(make_request(1, request_of(1, 50), first));
  StepReport report;
  for (int i = 0; i < 20; ++i) core.step(report);
  core.set_paused(1, true);
  EXPECT_FALSE(core.can_run());
  EXPECT_FALSE(core.step(report));
  EXPECT_GT(core.stats().kv_blocks_used, 0);
  EXPECT_EQ(core.stats().paused, 1);
  core.add(make_request(2, request_of(2, 50), second));
  while (core.step(report)) {
  }
  EXPECT_EQ(first->choices[0].ids.size(), 20U);
  EXPECT_EQ(second->choices[0].ids, test::run_alone(model, request_of(2, 50), 0));
  EXPECT_EQ(core.stats().preemptions, 1U);
  core.set_paused(1, false);
  while (core.step(report)) {
  }
  EXPECT_EQ(first->choices[0].ids, test::run_alone(model, request_of(1, 50), 0));
  core.check();
}

TEST(Engine, PausedRequestsCanBeCancelledAndStopped) {
  FakeModel::Shape shape = kShape;
  shape.max_model_len = 256;
  auto engine = make_engine({}, shape);
  const auto cancelled = std::make_shared<Waiter>(), stopped = std::make_shared<Waiter>();
  RequestId id = 0;
  {
    const std::scoped_lock lock(cancelled->mutex, stopped->mutex);  // no token gets through before both rest
    id = engine->submit(request_of(1, 200), cancelled).id;
    engine->set_paused(id, true);
    engine->set_paused(engine->submit(request_of(2, 200), stopped).id, true);
  }
  EXPECT_FALSE(engine->wait_idle(100ms));
  engine->cancel(id);
  cancelled->wait();
  EXPECT_EQ(cancelled->choices[0].finish, FinishReason::kAbort);
  engine->stop();
  EXPECT_EQ(stopped->choices[0].finish, FinishReason::kAbort);
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
  EXPECT_EQ(engine->stats().paused, 0);
}

}  // namespace
}  // namespace awq::engine
