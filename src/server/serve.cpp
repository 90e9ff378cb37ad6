#include "server/serve.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/places.h"
#include "base/resources.h"
#include "base/stop.h"
#include "device/device.h"
#include "engine/language_step_model.h"
#include "server/startup.h"

namespace awq::server {
namespace {

std::string url_of(const ServeOptions& options, int port) {
  const bool v6 = options.host.find(':') != std::string::npos;
  return fmt::format("{}://{}:{}", options.tls_certificate.empty() ? "http" : "https",
                     v6 ? "[" + options.host + "]" : options.host, port);
}

/// Flushes the log on every way out.
struct LogGuard {
  explicit LogGuard(const std::string& level) { start_log(level); }
  ~LogGuard() { stop_log(); }
  LogGuard(const LogGuard&) = delete;
  LogGuard& operator=(const LogGuard&) = delete;
};

/// Ends the threads in their order, on every way out: every request has its last event after engine.stop(), and the
/// workers finish what that makes; only then may the rest go.
class Threads {
 public:
  Threads(engine::Engine& engine, Metrics& metrics, std::unique_ptr<WorkerPool>& workers)
      : engine_(engine), metrics_(metrics), workers_(workers) {}
  ~Threads() { stop(); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  void stop() {
    engine_.stop();
    metrics_.set_engine(nullptr);
    workers_.reset();
  }

 private:
  engine::Engine& engine_;
  Metrics& metrics_;
  std::unique_ptr<WorkerPool>& workers_;
};

}  // namespace

void serve(const ServeOptions& options) {
  check_options(options);
  Keys keys = Keys::load(options.api_key_file);
  HttpServer http({.host = options.host,
                   .port = options.port,
                   .tls_certificate = options.tls_certificate,
                   .tls_key = options.tls_key,
                   .limits = &options.limits});
  if (!http.loopback() && keys.empty() && !options.allow_no_key) {
    fail(ErrorCode::kInvalidArgument,
         "--host {}: other machines can reach this address; give a key with --api-key-file or AWQ_API_KEY, or say "
         "--allow-no-key",
         printable(options.host));
  }
  const LogGuard log(options.log_level);
  const double begin = monotonic_seconds();
  const model::ModelFiles files = model::ModelFiles::open(options.model);
  const std::unique_ptr<text::Tokenizer> tokenizer = text::Tokenizer::load(options.model);
  const std::unique_ptr<ChatFormat> chat = load_chat_format(options, *tokenizer);
  GenerationDefaults defaults = load_defaults(options);  // a mistake there is said before anything is loaded
  LoadedModel loaded = load_model(options, files, device::parse_name(options.device));
  leave_place();  // this thread led the teams that loaded; the engine's own will be bound, the others go anywhere
  engine::Engine engine(std::move(loaded.model), loaded.options);
  ServedModel served = describe_model(options, files, *tokenizer, engine, loaded.runs_on);
  served.defaults = std::move(defaults);
  served.chat = chat.get();
  add_vocabularies(served, *tokenizer);

  Metrics metrics(served.names.front(), options.limits, served.max_model_len);
  metrics.set_info(loaded.runs_on, loaded.decode_kernels);
  metrics.set_cache_info(cache_labels(options, engine, loaded.kv_type));
  metrics.set_engine(&engine);
  engine.set_step_observer([&metrics](const engine::StepReport& report) { metrics.on_step(report); });
  auto workers = std::make_unique<WorkerPool>(options.worker_threads);
  const bool no_key = keys.empty();
  Service service({.options = &options,
                   .keys = std::move(keys),
                   .trusted_hosts_only = http.loopback() && no_key,
                   .model = std::move(served),
                   .metrics = &metrics,
                   .workers = workers.get()});
  Threads threads(engine, metrics, workers);
  log_note(start_line(files, engine, loaded));
  if (const std::int64_t context = engine::cached_context(files.config());
      options.max_model_len == 0 && engine.limits().max_model_len < context) {
    log_warning(fmt::format(
        "the model's context of {} tokens does not fit into the KV cache: requests have {}; more with a larger "
        "--kv-cache-memory-bytes or a smaller --kv-dtype",
        context, engine.limits().max_model_len));
  }
  if (chat == nullptr) log_warning("the model has no chat template: only /v1/completions can be used");
  const std::string url = url_of(options, http.port());
  const bool clean = http.run(service, [&] {
    log_note(fmt::format("ready at {} after {:.2f} s", url, monotonic_seconds() - begin));
    if (options.on_ready) options.on_ready(url, http.port());
  });
  const std::string error = engine.healthy() ? std::string() : engine.error();
  threads.stop();
  log_note(clean ? "stopped, all requests were answered" : "stopped, some requests were cancelled");
  if (!error.empty()) fail(ErrorCode::kDevice, "the engine failed: {}", printable(error, 500));
  stop_flag().throw_if_requested();
}

}  // namespace awq::server
