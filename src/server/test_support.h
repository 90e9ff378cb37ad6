#pragma once

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/test_support.h"
#include "server/openai/bodies.h"
#include "server/openai/chat_format.h"
#include "server/routes.h"
#include "support/paths.h"

namespace awq::server::test {

/// One request without a connection: what the service answers is collected here.
class Call {
 public:
  explicit Call(std::size_t buffer_bytes = 1 << 20) : state_(std::make_shared<State>()) {
    exchange_ = std::make_shared<Exchange>([state = state_] { state->collect(); }, buffer_bytes);
    state_->exchange = exchange_;
  }

  const std::shared_ptr<Exchange>& exchange() const { return exchange_; }
  /// Waits for the end of the answer; false when none comes.
  bool wait() {
    return wait([](const State& s) { return s.ended; });
  }
  /// Waits for its beginning.
  bool wait_for_head() {
    return wait([](const State& s) { return s.status != 0; });
  }
  int status() const {
    const std::lock_guard lock(state_->mutex);
    return state_->status;
  }
  std::string text() const {
    const std::lock_guard lock(state_->mutex);
    return state_->text;
  }

 private:
  /// Lives as long as anybody writes.
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    bool ended = false;
    int status = 0;
    std::string text;
    std::weak_ptr<Exchange> exchange;

    void collect() {
      const std::shared_ptr<Exchange> from = exchange.lock();
      if (!from) return;
      Exchange::Output out = from->take();
      const std::lock_guard lock(mutex);
      if (out.head) status = out.head->status;
      if (out.head && out.whole) text += out.head->body;
      text += out.bytes;
      ended = ended || out.whole || out.finished;
      changed.notify_all();
    }
  };
  template <typename Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, std::chrono::seconds(60), [&] { return condition(*state_); });
  }

  std::shared_ptr<State> state_;
  std::shared_ptr<Exchange> exchange_;
};

/// The routes, workers and engine over a model without weights, whose words are those of a small tokenizer.
class Server {
 public:
  static constexpr const char* kTemplate = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

  explicit Server(ServeOptions options = {}, std::int64_t max_model_len = 256, Keys keys = {})
      : options_(std::move(options)),
        tokenizer_(text::Tokenizer::load(std::filesystem::path(AWQ_SOURCE_DIR) / "models" / "books-12m")),
        chat_(templates::ChatTemplate::from_source(kTemplate, "a test", {}), *tokenizer_, "auto", "auto"),
        engine_(std::make_unique<engine::test::FakeModel>(engine::test::FakeModel::Shape{
                    .vocab = kVocab, .max_model_len = max_model_len, .blocks = max_model_len, .block_size = 16}),
                engine_options()),
        metrics_("test", options_.limits, max_model_len),
        workers_(std::make_unique<WorkerPool>(2)) {
    ServedModel model{.names = {"test"},
                      .max_model_len = max_model_len,
                      .vocab_size = kVocab,
                      .eos_ids = {0},
                      .tokenizer = tokenizer_.get(),
                      .engine = &engine_,
                      .chat = &chat_};
    model.vocabulary = std::make_shared<grammar::Vocabulary>(*tokenizer_, model.eos_ids, kVocab);
    model.call_vocabulary = model.vocabulary;
    service_ = std::make_unique<Service>(Service::Settings{.options = &options_,
                                                           .keys = std::move(keys),
                                                           .model = std::move(model),
                                                           .metrics = &metrics_,
                                                           .workers = workers_.get()});
  }
  ~Server() {
    engine_.stop();
    workers_.reset();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  Service& service() { return *service_; }
  engine::Engine& engine() { return engine_; }
  void post(const std::string& path, const std::string& body, const Call& call, const std::string& key = "") {
    HttpRequest request{.method = "POST", .path = path, .api_key = key, .content_type = "application/json"};
    request.body = body;
    service_->on_request(std::move(request), call.exchange());
  }
  std::shared_ptr<RequestScope> scope() {
    return std::make_shared<RequestScope>(*service_, HttpRequest{.method = "POST"}, routes().back(), "");
  }
  /// Times that a limit was reached.
  double hits(const std::string& limit) const {
    const std::string text = metrics_.text(), name = "awq:limit_hits_total{limit=\"" + limit + "\"} ";
    return std::stod(text.substr(text.find(name) + name.size()));
  }

 private:
  static constexpr std::int64_t kVocab = 8192;

  engine::EngineOptions engine_options() const {
    engine::EngineOptions out;
    out.max_num_seqs = options_.max_num_seqs;
    out.max_waiting_tokens = options_.limits.max_queued_tokens;
    out.prefix_caching = options_.prefix_caching;
    return out;
  }

  const ServeOptions options_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  ChatFormat chat_;
  engine::Engine engine_;
  Metrics metrics_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<Service> service_;
};

}  // namespace awq::server::test
