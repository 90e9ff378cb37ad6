#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/resources.h"
#include "engine/engine_core.h"
#include "engine/language_step_model.h"
#include "ops/gemm.h"

namespace awq::engine {
namespace {

// How fast the estimate of the engine's speed follows what happens: about the last 50 steps.
constexpr double kSpeedShare = 0.02;
constexpr double kShortestRetry = 1;
constexpr double kLongestRetry = 120;

HashKey random_key() {
  std::random_device device;
  const auto word = [&] { return (static_cast<std::uint64_t>(device()) << 32) | device(); };
  return {.low = word(), .high = word()};
}

/// What a request is told while it runs.
struct Command {
  enum class Kind { kCancel, kPause, kResume };
  Kind kind = Kind::kCancel;
  RequestId id = 0;
  std::int64_t choice = -1;  ///< to cancel; -1: all
};

}  // namespace

class Engine::Impl {
 public:
  Impl(std::unique_ptr<StepModel> model, const EngineOptions& options)
      : model_(std::move(model)), core_(*model_, options, random_key()), options_(core_.options()) {
    stats_ = core_.stats();
    ops::retire_team();  // this thread has loaded the model; from here on the other one computes
    thread_ = std::thread([this] { work(); });
  }

  ~Impl() { stop(); }

  Submission submit(Request&& request, std::shared_ptr<RequestSink> sink) {
    AWQ_CHECK(sink != nullptr);
    if (auto problem = find_problem(request, options_.limits)) {
      return {.status = Submission::Status::kInvalid, .problem = std::move(*problem)};
    }
    const std::int64_t output = reserved_output(request);
    const std::int64_t tokens = request.n * (static_cast<std::int64_t>(request.prompt.size()) + output);
    if (tokens > options_.max_waiting_tokens)
      return {.status = Submission::Status::kInvalid, .problem = too_many(tokens)};
    RequestId id = 0;
    {
      const std::lock_guard lock(mutex_);
      if (draining_ || failed_) return {.status = Submission::Status::kShuttingDown};
      if (waiting_requests_ >= options_.max_waiting_requests || tokens > options_.max_waiting_tokens - open_tokens_) {
        ++rejected_;
        return {.status = Submission::Status::kOverloaded, .retry_after_seconds = retry_after()};
      }
      id = ++last_id_;
      ++waiting_requests_;
      ++open_requests_;
      open_tokens_ += tokens;
    }
    // Constraints are made here, outside of the lock; the place in the queue is taken.
    NewRequest made;
    try {
      made = make_request(id, std::move(request), std::make_shared<Counted>(*this, std::move(sink), tokens, output));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      --waiting_requests_;
      --open_requests_;
      open_tokens_ -= tokens;
      idle_.notify_all();
      wake_.notify_one();  // the thread may be waiting for the last one to leave
      throw;
    }
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(made));
    wake_.notify_one();
    return {.id = id};
  }

  void tell(Command what) {
    const std::lock_guard lock(mutex_);
    commands_.push_back(what);
    wake_.notify_one();
  }

  void drain() {
    const std::lock_guard lock(mutex_);
    draining_ = true;
  }

  bool wait_idle(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, timeout, [&] { return open_requests_ == 0; });
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      draining_ = stopping_ = true;
      wake_.notify_one();
    }
    const std::lock_guard join_lock(join_mutex_);
    if (thread_.joinable()) thread_.join();
  }

  bool healthy() const {
    const std::lock_guard lock(mutex_);
    return !failed_;
  }
  std::string error() const {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  EngineStats stats() const {
    const std::lock_guard lock(mutex_);
    EngineStats out = stats_;
    out.rejected = rejected_;
    out.step_seconds = step_seconds_;
    return out;
  }
  void set_step_observer(std::function<void(const StepReport&)> observer) {
    const std::lock_guard lock(mutex_);
    observer_ = std::move(observer);
  }
  const EngineOptions& options() const { return options_; }

 private:
  /// Passes everything on and counts when the request starts and when its last choice ends.
  class Counted : public RequestSink {
   public:
    /// `tokens` are reserved for the request, `output` of them for the answer of each choice.
    Counted(Impl& engine, std::shared_ptr<RequestSink> sink, std::int64_t tokens, std::int64_t output)
        : engine_(engine), sink_(std::move(sink)), tokens_(tokens), output_(output) {}
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    /// On the engine's thread: the core drops a request once its last choice has ended.
    ~Counted() override {
      if (!taken_) return;  // never reached the core
      ++engine_.closed_.requests;
      engine_.closed_.tokens += tokens_;
      if (!started_) ++engine_.closed_.never_started;
    }
    void on_started() override {
      {
        const std::lock_guard lock(engine_.mutex_);
        --engine_.waiting_requests_;
        started_ = true;
      }
      sink_->on_started();
    }
    void on_prompt_logprob(const PromptLogprob& logprob) override { sink_->on_prompt_logprob(logprob); }
    void on_token(const TokenEvent& event) override {
      if (event.token_id >= 0 && event.completion_tokens > output_) {
        ++tokens_;
        --engine_.closed_.tokens;
      }
      // Whoever hears of an end finds it in the statistics.
      if (event.finish != FinishReason::kNone) engine_.publish_stats();
      sink_->on_token(event);
    }
    void take() { taken_ = true; }

   private:
    Impl& engine_;
    std::shared_ptr<RequestSink> sink_;
    std::int64_t tokens_, output_;
    bool started_ = false;
    bool taken_ = false;
  };

  /// What has ended since the last look, and tokens that answers have grown beyond what was reserved for them (less
  /// than zero); of the engine's thread.
  struct Closed {
    std::int64_t requests = 0, tokens = 0, never_started = 0;
  };

  /// On the engine's thread.
  void publish_stats() {
    const EngineStats now = core_.stats();
    const std::lock_guard lock(mutex_);
    stats_ = now;
  }

  /// With mutex_ held. Whoever waits for the end then finds the statistics of the end as well.
  void count_closed() {
    stats_ = core_.stats();
    waiting_requests_ -= closed_.never_started;
    open_requests_ -= closed_.requests;
    open_tokens_ -= closed_.tokens;
    closed_ = {};
    if (open_requests_ == 0) idle_.notify_all();
  }

  /// Why a request that never fits is not told to come again.
  RequestProblem too_many(std::int64_t tokens) const {
    return {"max_tokens",
            fmt::format("the request asks for {} tokens of prompt and output, more than the {} that are taken "
                        "of all requests together",
                        tokens, options_.max_waiting_tokens)};
  }

  /// With mutex_ held.
  double retry_after() const {
    if (tokens_per_second_ <= 0) return kShortestRetry;
    return std::clamp(static_cast<double>(open_tokens_) / tokens_per_second_, kShortestRetry, kLongestRetry);
  }

  void work() {
    ops::adopt_threads();
    try {
      model_->prepare();
    } catch (const Error&) {  // the step that needs the memory asks for it again, and its requests hear of it
    }
    std::vector<NewRequest> requests;
    std::vector<Command> commands;
    while (true) {
      bool ending = false;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] {
          const bool over = stopping_ && open_requests_ == 0;
          const bool has_to_end = (stopping_ || failed_) && !core_.idle();  // paused ones too
          return !inbox_.empty() || !commands_.empty() || core_.can_run() || has_to_end || over;
        });
        requests.swap(inbox_);
        commands.swap(commands_);
        ending = stopping_ || failed_;
      }
      for (NewRequest& request : requests) {
        static_cast<Counted&>(*request.state->sink).take();
        core_.add(std::move(request));
      }
      requests.clear();
      for (const Command& c : commands) {
        if (c.kind == Command::Kind::kCancel) {
          core_.cancel(c.id, c.choice);
        } else {
          core_.set_paused(c.id, c.kind == Command::Kind::kPause);
        }
      }
      commands.clear();
      if (ending) {
        core_.cancel_all();
      } else if (core_.can_run()) {
        step();
      }
      const std::lock_guard lock(mutex_);
      count_closed();
      // Requests whose constraints were still being made when the doors closed arrive before the last one is counted.
      if (stopping_ && open_requests_ == 0) return;
    }
  }

  void step() {
    StepReport report;
    bool ran = false;
    const double begin = monotonic_seconds();
    std::string error;
    try {
      ran = core_.step(report);
    } catch (const std::exception& e) {
      error = e.what();
    }
    report.seconds = monotonic_seconds() - begin;
    std::function<void(const StepReport&)>* observer = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (!error.empty()) {
        failed_ = true;
        error_ = std::move(error);
      }
      if (ran && report.seconds > 0) {
        step_seconds_ += report.seconds;
        const double speed = static_cast<double>(report.tokens) / report.seconds;
        tokens_per_second_ += (speed - tokens_per_second_) * (tokens_per_second_ == 0 ? 1 : kSpeedShare);
      }
      if (ran && observer_) observer = &observer_;
    }
    if (observer != nullptr) (*observer)(report);
  }

  std::unique_ptr<StepModel> model_;
  Closed closed_;
  EngineCore core_;  ///< of the engine's thread alone, as is closed_
  const EngineOptions options_;

  mutable std::mutex mutex_;  ///< of everything below
  std::condition_variable wake_, idle_;
  std::vector<NewRequest> inbox_;
  std::vector<Command> commands_;
  bool draining_ = false, stopping_ = false, failed_ = false;
  std::string error_;
  RequestId last_id_ = 0;
  std::int64_t waiting_requests_ = 0, open_requests_ = 0, open_tokens_ = 0;
  std::uint64_t rejected_ = 0;
  double step_seconds_ = 0, tokens_per_second_ = 0;
  EngineStats stats_;
  std::function<void(const StepReport&)> observer_;

  std::mutex join_mutex_;
  std::thread thread_;
};

Engine::Engine(std::unique_ptr<model::LanguageModel> model, const EngineOptions& options)
    : Engine(std::make_unique<LanguageStepModel>(std::move(model), options), options) {}
Engine::Engine(std::unique_ptr<StepModel> model, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Engine::~Engine() = default;
Submission Engine::submit(Request request, std::shared_ptr<RequestSink> sink) {
  return impl_->submit(std::move(request), std::move(sink));
}
void Engine::cancel(RequestId id) { impl_->tell({.id = id}); }
void Engine::cancel(RequestId id, std::int64_t choice) { impl_->tell({.id = id, .choice = choice}); }
void Engine::set_paused(RequestId id, bool paused) {
  impl_->tell({.kind = paused ? Command::Kind::kPause : Command::Kind::kResume, .id = id});
}
void Engine::drain() { impl_->drain(); }
bool Engine::wait_idle(std::chrono::milliseconds timeout) { return impl_->wait_idle(timeout); }
void Engine::stop() { impl_->stop(); }
bool Engine::healthy() const { return impl_->healthy(); }
std::string Engine::error() const { return impl_->error(); }
EngineStats Engine::stats() const { return impl_->stats(); }
void Engine::set_step_observer(std::function<void(const StepReport&)> observer) {
  impl_->set_step_observer(std::move(observer));
}
const RequestLimits& Engine::limits() const { return impl_->options().limits; }
const EngineOptions& Engine::options() const { return impl_->options(); }

}  // namespace awq::engine
