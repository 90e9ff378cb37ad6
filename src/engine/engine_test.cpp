// The engine's thread: submissions, cancellations, drains and faults from many threads at once.

#include "engine/engine.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <atomic>
#include <filesystem>
#include <iterator>
#include <thread>

#include "engine/engine_core.h"
#include "engine/test_support.h"
#include "ops/gemm.h"

namespace awq::engine {
namespace {

using namespace std::chrono_literals;
using test::FakeModel;
using test::kShape;
using test::make_engine;
using test::Recorder;
using test::request_of;
using test::Waiter;

TEST(Engine, RunsARequest) {
  const auto engine = make_engine();
  const auto sink = std::make_shared<Waiter>();
  const Submission s = engine->submit(request_of(3, 10), sink);
  EXPECT_EQ(s.status, Submission::Status::kAccepted);
  sink->wait();
  EXPECT_EQ(sink->choices[0].ids, test::run_alone(FakeModel(kShape), request_of(3, 10), 0));
  EXPECT_EQ(sink->choices[0].finish, FinishReason::kLength);
  EXPECT_TRUE(engine->wait_idle(60s));
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
  EXPECT_EQ(engine->stats().generation_tokens, 10U);
  EXPECT_EQ(engine->stats().finished_length, 1U);
}

TEST(Engine, AModelThatPicksItselfGivesTheSameTokens) {
  // Requests without rules need no logits from it; all others do, in the same steps.
  const auto run = [](bool picks_itself, std::int64_t& picked, std::int64_t& drawn) {
    FakeModel model(kShape);
    model.picks_itself = picks_itself;
    EngineCore core(model, {.max_num_seqs = 8, .spec_tokens = 3}, {});
    std::vector<std::shared_ptr<Recorder>> sinks;
    for (std::uint64_t i = 0; i < 12; ++i) {
      Request request = request_of(i, 10);
      request.sampling.ignore_eos = i % 2 == 0;
      if (i % 4 != 0) request.sampling.temperature = 0;
      if (i % 4 == 2) request.sampling.logprobs = 1;
      if (i == 5) request.sampling.min_tokens = 4;
      if (i == 7) request.sampling.repetition_penalty = 1.5;
      if (i == 9) request.sampling.prompt_logprobs = 0;
      sinks.push_back(std::make_shared<Recorder>());
      core.add(make_request(i + 1, std::move(request), sinks.back()));
    }
    StepReport report;
    while (core.step(report)) {
    }
    core.check();
    picked = model.picked;
    drawn = model.drawn;
    std::vector<std::pair<std::vector<std::int32_t>, std::vector<float>>> out;
    for (const auto& sink : sinks) {
      out.emplace_back(sink->choices[0].ids, sink->choices[0].logprobs);
      out.back().second.insert(out.back().second.end(), sink->prompt_logprobs.begin(), sink->prompt_logprobs.end());
    }
    return out;
  };
  std::int64_t picked = 0, drawn = 0;
  const auto expected = run(false, picked, drawn);
  EXPECT_EQ(picked + drawn, 0);
  EXPECT_EQ(run(true, picked, drawn), expected);
  EXPECT_GT(picked, 0);
  EXPECT_GT(drawn, 40);
}

TEST(Engine, InvalidRequestsAreNotTaken) {
  const auto engine = make_engine();
  Request request = request_of(1, 100);
  const Submission s = engine->submit(request, std::make_shared<Waiter>());
  EXPECT_EQ(s.status, Submission::Status::kInvalid);
  EXPECT_EQ(s.problem.field, "max_tokens");
}

TEST(Engine, WhatNeverFitsIsInvalidAndNotOverload) {
  EngineOptions options;
  options.max_waiting_tokens = 30;
  const auto engine = make_engine(options);
  Request request = request_of(1, 10);
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  request.sampling.max_tokens = 30 - prompt + 1;
  const Submission s = engine->submit(request, std::make_shared<Waiter>());
  EXPECT_EQ(s.status, Submission::Status::kInvalid);
  EXPECT_NE(s.problem.message.find("31 tokens"), std::string::npos) << s.problem.message;
  --request.sampling.max_tokens;
  EXPECT_EQ(engine->submit(request, std::make_shared<Waiter>()).status, Submission::Status::kAccepted);
}

TEST(Engine, AnOpenAnswerIsCountedByWhatItHasGrownTo) {
  EngineOptions options;
  options.max_waiting_tokens = 100;
  const auto engine = make_engine(options);
  Request request = request_of(1, 60);
  request.reserved_output = 5;
  using enum Submission::Status;
  // One of 63 tokens would fit; with room for five tokens of each answer there are twelve.
  std::vector<std::shared_ptr<Waiter>> many;
  for (int i = 0; i < 12; ++i) {
    many.push_back(std::make_shared<Waiter>());
    EXPECT_EQ(engine->submit(request, many.back()).status, kAccepted) << i;
  }
  for (const auto& waiter : many) waiter->wait();
  EXPECT_TRUE(engine->wait_idle(60s));

  struct Asker : Waiter {
    Engine* engine = nullptr;
    std::vector<Submission::Status> answers;
    void on_token(const TokenEvent& event) override {
      // The 51 tokens of the steps before are counted: 46 of 100 are left, where 92 were when the request came.
      if (event.completion_tokens == 52) {
        answers.push_back(engine->submit(request_of(2, 50), std::make_shared<Waiter>()).status);
        answers.push_back(engine->submit(request_of(2, 43), std::make_shared<Waiter>()).status);
      }
      Waiter::on_token(event);
    }
  };
  const auto sink = std::make_shared<Asker>();
  sink->engine = engine.get();
  EXPECT_EQ(engine->submit(request, sink).status, kAccepted);
  sink->wait();
  EXPECT_EQ(sink->choices[0].ids, test::run_alone(FakeModel(kShape), request, 0));
  EXPECT_EQ(sink->answers, (std::vector{kOverloaded, kAccepted}));
  EXPECT_TRUE(engine->wait_idle(60s));
  // All of it comes back.
  EXPECT_EQ(engine->submit(request_of(1, 61), std::make_shared<Waiter>()).status, kAccepted);
  EXPECT_EQ(engine->submit(request_of(1, 33), std::make_shared<Waiter>()).status, kAccepted);
}

TEST(Engine, ItsThreadLeadsTeamsOfTheConfiguredSize) {
  struct Watched : FakeModel {
    explicit Watched(std::atomic<int>& seen) : FakeModel(kShape), seen_(seen) {}
    void run(std::span<const std::int32_t> ids, std::span<const model::SequenceSlice> slices) override {
      seen_ = omp_get_max_threads();
      FakeModel::run(ids, slices);
    }
    std::atomic<int>& seen_;
  };
  const int before = omp_get_max_threads();
  for (const int threads : {1, 3}) {
    ops::configure_threads(threads);
    std::atomic<int> seen = 0;
    Engine engine(std::make_unique<Watched>(seen), EngineOptions{});
    const auto sink = std::make_shared<Waiter>();
    engine.submit(request_of(1, 2), sink);
    sink->wait();
    EXPECT_EQ(seen, threads);
  }
  ops::configure_threads(before);
}

TEST(Engine, TheTeamThatLoadedTheModelIsGone) {
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const int before = omp_get_max_threads();
  ops::configure_threads(3);
  std::atomic<int> team = 0;
#pragma omp parallel
  ++team;
  const auto loaded = threads();
  const auto engine = make_engine();
  // Its own thread for two of the team, which take a moment to leave.
  const auto expected = loaded + 1 - (team - 1);
  for (int i = 0; i < 1000 && threads() != expected; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(threads(), expected);
  ops::configure_threads(before);
}

TEST(Engine, WhoHearsOfAnEndFindsItInTheStatistics) {
  struct Asking : Waiter {
    void on_token(const TokenEvent& event) override {
      if (event.finish != FinishReason::kNone) at_end = engine->stats();
      Waiter::on_token(event);
    }
    Engine* engine = nullptr;
    EngineStats at_end;
  };
  const auto engine = make_engine();
  const auto sink = std::make_shared<Asking>();
  sink->engine = engine.get();
  Request request = request_of(1, 10);
  request.sampling.ignore_eos = true;
  engine->submit(request, sink);
  sink->wait();
  EXPECT_EQ(sink->at_end.generation_tokens, 10U);
  EXPECT_EQ(sink->at_end.finished_length, 1U);
  EXPECT_EQ(sink->at_end.running, 0);
  EXPECT_EQ(sink->at_end.kv_blocks_used, 0);
}

TEST(Engine, QueuesAreBounded) {
  EngineOptions options;
  options.max_waiting_requests = 5;
  options.max_num_seqs = 1;
  FakeModel::Shape shape = kShape;
  shape.max_model_len = 256;
  const auto engine = make_engine(options, shape);
  int overloaded = 0;
  for (std::uint64_t i = 0; i < 500; ++i) {
    const Submission s = engine->submit(request_of(i, 200), std::make_shared<Waiter>());
    if (s.status == Submission::Status::kOverloaded) {
      ++overloaded;
      EXPECT_GE(s.retry_after_seconds, 1);
    }
  }
  EXPECT_GT(overloaded, 0);
  EXPECT_EQ(engine->stats().rejected, static_cast<std::uint64_t>(overloaded));
}

TEST(Engine, StopEndsEverySink) {
  auto engine = make_engine();
  std::vector<std::shared_ptr<Waiter>> sinks;
  for (std::uint64_t i = 0; i < 50; ++i) {
    sinks.push_back(std::make_shared<Waiter>());
    engine->submit(request_of(i, 60), sinks.back());
  }
  engine->stop();
  for (const auto& sink : sinks) EXPECT_NE(sink->choices[0].finish, FinishReason::kNone);
  EXPECT_EQ(engine->submit(request_of(1, 1), std::make_shared<Waiter>()).status, Submission::Status::kShuttingDown);
}

TEST(Engine, DrainFinishesWhatWasAccepted) {
  const auto engine = make_engine();
  std::vector<std::shared_ptr<Waiter>> sinks;
  for (std::uint64_t i = 0; i < 20; ++i) {
    sinks.push_back(std::make_shared<Waiter>());
    engine->submit(request_of(i, 40), sinks.back());
  }
  engine->drain();
  EXPECT_EQ(engine->submit(request_of(1, 1), std::make_shared<Waiter>()).status, Submission::Status::kShuttingDown);
  EXPECT_TRUE(engine->wait_idle(60s));
  for (const auto& sink : sinks) EXPECT_EQ(sink->choices[0].finish, FinishReason::kLength);
}

TEST(Engine, ASinkMayCancel) {
  struct Quitter : Waiter {
    Engine* engine = nullptr;
    std::atomic<RequestId> id{0};
    void on_token(const TokenEvent& event) override {
      Waiter::on_token(event);
      if (event.completion_tokens == 3 && event.finish == FinishReason::kNone) engine->cancel(id);
    }
  };
  const auto engine = make_engine();
  const auto sink = std::make_shared<Quitter>();
  sink->engine = engine.get();
  sink->id = 1;  // the first request's
  EXPECT_EQ(engine->submit(request_of(1, 60), sink).id, 1U);
  sink->wait();
  EXPECT_EQ(sink->choices[0].finish, FinishReason::kAbort);
  EXPECT_EQ(sink->choices[0].ids.size(), 3U);
}

TEST(Engine, OneChoiceCanBeCancelled) {
  const auto engine = make_engine();
  const auto sink = std::make_shared<Waiter>(3);
  Request request = request_of(5, 30);
  request.n = 3;
  {
    const std::lock_guard lock(sink->mutex);  // no token gets through before the cancellation is in
    const Submission s = engine->submit(request, sink);
    engine->cancel(s.id, 1);
  }
  sink->wait();
  EXPECT_EQ(sink->choices[0].ids, test::run_alone(FakeModel(kShape), request, 0));
  EXPECT_EQ(sink->choices[2].ids, test::run_alone(FakeModel(kShape), request, 2));
  EXPECT_EQ(sink->choices[1].finish, FinishReason::kAbort);
}

TEST(Engine, AFaultOfAStepFailsItsRequestsAndAnInternalOneTheEngine) {
  for (const ErrorCode code : {ErrorCode::kOutOfMemory, ErrorCode::kInternal}) {
    auto model = std::make_unique<FakeModel>(kShape);
    model->throw_at_run = 5;
    model->throw_code = code;
    EngineOptions options;
    options.max_num_seqs = 8;
    Engine engine(std::move(model), options);
    const auto sink = std::make_shared<Waiter>();
    engine.submit(request_of(1, 50), sink);
    sink->wait();
    EXPECT_EQ(sink->choices[0].finish, FinishReason::kError);
    EXPECT_NE(sink->choices[0].error.find("a test asked for"), std::string::npos);
    EXPECT_TRUE(engine.wait_idle(60s));
    const auto next = std::make_shared<Waiter>();
    // The engine notices its fault right after the step that ended the sink.
    while (code == ErrorCode::kInternal && engine.healthy()) std::this_thread::sleep_for(1ms);
    const Submission s = engine.submit(request_of(2, 5), next);
    if (code == ErrorCode::kInternal) {
      EXPECT_EQ(s.status, Submission::Status::kShuttingDown);
      EXPECT_NE(engine.error().find("a test asked for"), std::string::npos);
    } else {
      next->wait();
      EXPECT_EQ(next->choices[0].finish, FinishReason::kLength);
    }
  }
}

TEST(Engine, TenThousandRandomCancelsLeakNothing) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int kPerThread = 500;
#else
  constexpr int kPerThread = 2500;
#endif
  EngineOptions options;
  options.spec_tokens = 3;
  options.max_waiting_requests = 100000;
  const auto engine = make_engine(options);
  std::atomic<std::int64_t> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const FakeModel model(kShape);
      std::vector<std::pair<Request, std::shared_ptr<Waiter>>> mine;
      for (std::uint64_t i = 0; i < kPerThread; ++i) {
        const std::uint64_t dice = random_bits(t, i);
        Request request = request_of(dice, 1 + static_cast<std::int64_t>(dice % 50));
        request.n = 1 + static_cast<std::int64_t>(dice >> 20) % 3;
        const auto sink = std::make_shared<Waiter>(request.n);
        const Submission s = engine->submit(request, sink);
        if (s.status != Submission::Status::kAccepted) ++wrong;
        if (dice % 7 == 0) std::this_thread::yield();
        engine->cancel(s.id, static_cast<std::int64_t>(dice >> 30) % 4 - 1);
        if (dice % 5 != 0) engine->cancel(s.id);
        mine.emplace_back(std::move(request), sink);
        if (i % 64 == 63) sink->wait();
      }
      for (auto& [request, sink] : mine) {
        sink->wait();
        for (auto& [number, choice] : sink->choices) {
          const auto expected = test::run_alone(model, request, number);
          const bool whole = choice.finish == FinishReason::kLength;
          if (whole ? choice.ids != expected : !std::equal(choice.ids.begin(), choice.ids.end(), expected.begin())) {
            ++wrong;
          }
        }
      }
    });
  }
  // Somebody looks all the time.
  std::atomic<bool> over{false};
  std::thread observer([&] {
    while (!over) {
      const EngineStats stats = engine->stats();
      if (stats.kv_blocks_used > stats.kv_blocks_total) ++wrong;
      std::this_thread::sleep_for(1ms);
    }
  });
  for (std::thread& thread : threads) thread.join();
  over = true;
  observer.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(engine->wait_idle(60s));
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.kv_blocks_used, 0);
  EXPECT_EQ(stats.running + stats.waiting, 0);
  EXPECT_GT(stats.finished_abort, 4U * kPerThread / 2);
}

}  // namespace
}  // namespace awq::engine
