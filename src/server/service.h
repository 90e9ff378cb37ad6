#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "grammar/vocabulary.h"
#include "server/http_server.h"
#include "server/keys.h"
#include "server/log.h"
#include "server/metrics.h"
#include "server/openai/common_fields.h"
#include "server/openai/token_texts.h"
#include "server/worker_pool.h"
#include "text/tokenizer.h"

namespace awq::server {

class ChatFormat;

/// One model behind the routes, and what they share. Immutable once serving, but for counters.
struct ServedModel {
  std::vector<std::string> names;  ///< at least one; the first answers for requests that name none
  std::string root;                ///< shown as "root" of the model card
  std::string fingerprint;
  std::int64_t created = 0;
  std::int64_t max_model_len = 0;
  std::int64_t vocab_size = 0;
  std::vector<std::int32_t> eos_ids;
  GenerationDefaults defaults;
  const text::Tokenizer* tokenizer = nullptr;
  engine::Engine* engine = nullptr;
  std::shared_ptr<const grammar::Vocabulary> vocabulary;       ///< for grammars that constrain answers
  std::shared_ptr<const grammar::Vocabulary> call_vocabulary;  ///< with the marks around calls of tools as well
  const ChatFormat* chat = nullptr;                            ///< null: the model has no chat template
};

class Service;
struct Route;

/// One HTTP request from its arrival to its end: counts it, and logs and measures it when the last owner lets go.
class RequestScope {
 public:
  /// `tenant`: whose request it is (Keys::holder).
  RequestScope(Service& service, const HttpRequest& request, const Route& route, std::string tenant);
  ~RequestScope();
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

  const std::string& id() const { return log_.id; }
  /// A name that the body gives, empty for none; a header's goes before it.
  void set_id(const std::string& id);
  const std::string& tenant() const { return tenant_; }
  double begin() const { return begin_; }
  RequestLog& log() { return log_; }
  /// Answers with an error and remembers its status.
  void refuse(Exchange& exchange, const ApiError& error);
  void reply(Exchange& exchange, HttpReply reply);

 private:
  Service& service_;
  const std::string tenant_;
  bool counted_;        ///< among the open requests
  bool named_ = false;  ///< by the client's header
  RequestLog log_;
  double begin_;
};

/// Routes requests. What takes longer than a look-up runs on the workers.
class Service final : public HttpHandler {
 public:
  struct Settings {
    const ServeOptions* options = nullptr;
    Keys keys;
    bool trusted_hosts_only = false;  ///< loopback without a key: other Host names are refused (DNS rebinding)
    ServedModel model;
    Metrics* metrics = nullptr;
    WorkerPool* workers = nullptr;
  };
  explicit Service(Settings settings);

  void on_request(HttpRequest request, const std::shared_ptr<Exchange>& exchange) override;
  void on_refused(const ApiError& error) override;
  void on_limit(LimitField limit) override { metrics().on_limit(limit); }
  void on_connections(std::int64_t open) override { metrics().set_connections(open); }
  bool stop_requested() override;
  void on_drain() override;

  const ServeLimits& limits() const { return settings_.options->limits; }
  const ServeOptions& options() const { return *settings_.options; }
  const ServedModel& model() const { return settings_.model; }
  const TokenTexts& token_texts() const { return token_texts_; }
  Metrics& metrics() const { return *settings_.metrics; }
  WorkerPool& workers() const { return *settings_.workers; }
  std::int64_t open_requests() const { return open_requests_.load(); }
  /// Seconds after which a request that was turned away may find room.
  double retry_after() const;
  /// Throws 404 for a model that is not served. The name to answer with.
  std::string check_model(const std::string& name) const;

 private:
  friend class RequestScope;

  Settings settings_;
  TokenTexts token_texts_;
  std::atomic<std::int64_t> open_requests_{0};
  std::atomic<bool> draining_{false};
};

/// A random name such as "cmpl-5f2a...".
std::string random_id(const char* prefix);
std::uint64_t random_seed();

}  // namespace awq::server
