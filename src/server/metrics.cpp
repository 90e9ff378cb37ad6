#include "server/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>

#include "awq/version.h"
#include "base/resources.h"

namespace awq::server {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const Buckets kSeconds = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                          1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
// The first three here and below are not vLLM's: small models are that fast.
const Buckets kTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
                               0.4,   0.5,    0.75,  1,    2.5,   5,    7.5,   10,  20,   40,  80};
const Buckets kRequestSeconds = {0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1,   1.5, 2,   2.5, 5,    10,
                                 15,   20,   30,  40,  50,  60,  120, 240, 480, 960, 1920, 7680};
const Buckets kStepTokens = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const Buckets kSmall = {1, 2, 5, 10, 20};
constexpr std::int64_t kLargestPower = 1'000'000'000;
constexpr double kForget = 0.9;  // weight of the past in typical_seconds

/// 1, 2, 5, 10 ... up to `most`.
Buckets token_buckets(std::int64_t most) {
  Buckets out;
  for (std::int64_t power = 1; power <= most && power <= kLargestPower; power *= 10) {
    for (const std::int64_t step : {1, 2, 5}) {
      if (step * power <= most) out.push_back(static_cast<double>(step * power));
    }
  }
  return out;
}

/// Numbers that the engine keeps, read when somebody asks.
class EngineNumbers final : public prometheus::Collectable {
 public:
  explicit EngineNumbers(prometheus::Labels labels) {
    for (const auto& [name, value] : labels) labels_.push_back({name, value});
  }
  void set_engine(const engine::Engine* engine) { engine_.store(engine); }

  std::vector<MetricFamily> Collect() const override {
    std::vector<MetricFamily> out;
    const engine::Engine* engine = engine_.load();
    if (engine == nullptr) return out;
    const engine::EngineStats s = engine->stats();
    const auto gauge = [&](const char* name, const char* help, double value) {
      ClientMetric metric;
      metric.label = labels_;
      metric.gauge.value = value;
      out.push_back({name, help, MetricType::Gauge, {metric}});
    };
    const auto counter = [&](const char* name, const char* help, std::uint64_t value) {
      ClientMetric metric;
      metric.label = labels_;
      metric.counter.value = static_cast<double>(value);
      out.push_back({name, help, MetricType::Counter, {metric}});
    };
    /// One more of the family that was last added, with a label; the first makes the family.
    const auto labelled = [&](const char* name, const char* help, MetricType type, const char* label,
                              const std::string& value, double number) {
      ClientMetric metric;
      metric.label = labels_;
      metric.label.push_back({label, value});
      metric.gauge.value = number;
      metric.counter.value = number;
      if (out.empty() || out.back().name != name) out.push_back({name, help, type, {}});
      out.back().metric.push_back(std::move(metric));
    };
    const double blocks = static_cast<double>(s.kv_blocks_total);
    gauge("vllm:num_requests_running", "Sequences in the running batch.", static_cast<double>(s.running));
    gauge("vllm:num_requests_waiting", "Sequences that wait for their turn.", static_cast<double>(s.waiting));
    // No request is deferred: all that waits could run in its place.
    for (const auto& [reason, count] : {std::pair("capacity", s.waiting), std::pair("deferred", std::int64_t{0})}) {
      labelled("vllm:num_requests_waiting_by_reason", "Sequences that wait, by reason.", MetricType::Gauge, "reason",
               reason, static_cast<double>(count));
    }
    gauge("awq:num_requests_paused", "Sequences whose client does not read.", static_cast<double>(s.paused));
    gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1.",
          blocks > 0 ? static_cast<double>(s.kv_blocks_used) / blocks : 0);
    gauge("awq:kv_blocks_used", "KV blocks that running sequences hold.", static_cast<double>(s.kv_blocks_used));
    gauge("awq:kv_blocks_total", "KV blocks of the cache.", blocks);
    gauge("awq:kv_cache_bytes", "Memory of the KV cache.", static_cast<double>(s.kv_bytes_total));
    gauge("awq:max_num_seqs", "Sequences that one step may have.", static_cast<double>(engine->options().max_num_seqs));
    gauge("awq:healthy", "1 while the engine works.", engine->healthy() ? 1 : 0);
    counter("vllm:prompt_tokens_total", "Prompt tokens processed.", s.prompt_tokens);
    counter("vllm:prompt_tokens_cached_total", "Prompt tokens that the prefix cache had.", s.prompt_tokens_cached);
    const std::pair<const char*, std::uint64_t> sources[] = {
        {"local_compute", s.prompt_tokens - s.prompt_tokens_cached}, {"local_cache_hit", s.prompt_tokens_cached}};
    for (const auto& [source, count] : sources) {
      labelled("vllm:prompt_tokens_by_source_total", "Prompt tokens by where their keys and values come from.",
               MetricType::Counter, "source", source, static_cast<double>(count));
    }
    counter("vllm:generation_tokens_total", "Tokens generated.", s.generation_tokens);
    counter("vllm:num_preemptions_total", "Times a sequence gave up its blocks.", s.preemptions);
    counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", s.prefix_cache_queries);
    counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", s.prefix_cache_hits);
    counter("vllm:spec_decode_num_drafts_total", "Guesses made.", s.spec_drafts);
    counter("vllm:spec_decode_num_draft_tokens_total", "Tokens guessed.", s.spec_draft_tokens);
    counter("vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that were right.", s.spec_accepted_tokens);
    for (std::size_t i = 0; i < static_cast<std::size_t>(engine->options().spec_tokens); ++i) {
      labelled("vllm:spec_decode_num_accepted_tokens_per_pos_total", "The same by place in the guess.",
               MetricType::Counter, "position", std::to_string(i), static_cast<double>(s.spec_accepted_per_pos[i]));
    }
    counter("awq:engine_steps_total", "Forward passes.", s.steps);
    counter("awq:engine_rejected_total", "Requests that the engine did not take.", s.rejected);
    return out;
  }

 private:
  std::vector<ClientMetric::Label> labels_;
  std::atomic<const engine::Engine*> engine_{nullptr};
};

prometheus::Histogram& histogram(prometheus::Registry& registry, const prometheus::Labels& labels, const char* name,
                                 const char* help, const Buckets& buckets) {
  return prometheus::BuildHistogram().Name(name).Help(help).Labels(labels).Register(registry).Add({}, buckets);
}

prometheus::Gauge& gauge(prometheus::Registry& registry, const prometheus::Labels& labels, const char* name,
                         const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Labels(labels).Register(registry).Add({});
}

}  // namespace

struct Metrics::State {
  State(const std::string& model, const Buckets& tokens)
      : labels{{"model_name", model}, {"engine", "0"}},
        engine_numbers(labels),
        first_token(histogram(registry, labels, "vllm:time_to_first_token_seconds", "From arrival to the first token.",
                              kSeconds)),
        next_token(
            histogram(registry, labels, "vllm:inter_token_latency_seconds", "Between two tokens.", kTokenSeconds)),
        per_token(histogram(registry, labels, "vllm:request_time_per_output_token_seconds", "Mean of a request.",
                            kTokenSeconds)),
        end_to_end(histogram(registry, labels, "vllm:e2e_request_latency_seconds", "Whole requests.", kRequestSeconds)),
        queue(histogram(registry, labels, "vllm:request_queue_time_seconds", "Until the first step.", kRequestSeconds)),
        prefill(histogram(registry, labels, "vllm:request_prefill_time_seconds", "First step to first token.",
                          kRequestSeconds)),
        decode(
            histogram(registry, labels, "vllm:request_decode_time_seconds", "First token to last.", kRequestSeconds)),
        inference(histogram(registry, labels, "vllm:request_inference_time_seconds", "First step to last token.",
                            kRequestSeconds)),
        prompt(histogram(registry, labels, "vllm:request_prompt_tokens", "Prompt tokens of a request.", tokens)),
        computed(histogram(registry, labels, "vllm:request_prefill_kv_computed_tokens",
                           "Prompt tokens of a request that the prefix cache did not have.", tokens)),
        generation(histogram(registry, labels, "vllm:request_generation_tokens", "New tokens of a request.", tokens)),
        longest(histogram(registry, labels, "vllm:request_max_num_generation_tokens",
                          "New tokens of a request's longest choice.", tokens)),
        max_tokens(histogram(registry, labels, "vllm:request_params_max_tokens", "max_tokens asked for.", tokens)),
        n(histogram(registry, labels, "vllm:request_params_n", "n asked for.", kSmall)),
        step_tokens(
            histogram(registry, labels, "vllm:iteration_tokens_total", "Tokens of a forward pass.", kStepTokens)),
        step_seconds(histogram(registry, labels, "awq:step_seconds", "Time of a forward pass.", kTokenSeconds)),
        connections(gauge(registry, {}, "awq:http_connections", "Open connections.")),
        streams(gauge(registry, {}, "awq:http_streams", "Streams that are being written.")),
        resident(gauge(registry, {}, "process_resident_memory_peak_bytes", "Largest resident set so far.")),
        success(prometheus::BuildCounter()
                    .Name("vllm:request_success_total")
                    .Help("Choices that ended, by reason.")
                    .Labels(labels)
                    .Register(registry)),
        limits(prometheus::BuildCounter()
                   .Name("awq:limit_hits_total")
                   .Help("Times a limit was reached.")
                   .Register(registry)),
        limit_values(prometheus::BuildGauge().Name("awq:limit").Help("Limits as they are set.").Register(registry)),
        responses(prometheus::BuildCounter()
                      .Name("http_requests_total")
                      .Help("Answers by route and status.")
                      .Register(registry)),
        durations(prometheus::BuildHistogram()
                      .Name("http_request_duration_seconds")
                      .Help("From request to end of answer.")
                      .Register(registry)),
        info(prometheus::BuildGauge()
                 .Name("awq:build_info")
                 .Help("Version, instruction set and kernels.")
                 .Register(registry)),
        cache_info(prometheus::BuildGauge()
                       .Name("vllm:cache_config_info")
                       .Help("How the KV cache was set up.")
                       .Labels(labels)
                       .Register(registry)) {}

  prometheus::Labels labels;
  prometheus::Registry registry;
  EngineNumbers engine_numbers;
  prometheus::Histogram &first_token, &next_token, &per_token, &end_to_end, &queue, &prefill, &decode, &inference,
      &prompt, &computed, &generation, &longest, &max_tokens, &n, &step_tokens, &step_seconds;
  prometheus::Gauge &connections, &streams, &resident;
  prometheus::Family<prometheus::Counter>&success, &limits;
  prometheus::Family<prometheus::Gauge>& limit_values;
  prometheus::Family<prometheus::Counter>& responses;
  prometheus::Family<prometheus::Histogram>& durations;
  prometheus::Family<prometheus::Gauge>&info, &cache_info;
  std::map<std::string, prometheus::Counter*> limit_counters;  ///< made once, read by any thread
};

Metrics::Metrics(const std::string& model_name, const ServeLimits& limits, std::int64_t max_model_len)
    : state_(std::make_unique<State>(model_name, token_buckets(max_model_len))) {
  for (const ServeLimitInfo& row : serve_limits()) {
    state_->limit_counters[row.name] = &state_->limits.Add({{"limit", row.name}});
    state_->limit_values.Add({{"limit", row.name}}).Set(static_cast<double>(limits.*row.field));
  }
  for (const char* reason : {"stop", "length", "repetition", "abort", "error", "tool_calls"})
    state_->success.Add({{"finished_reason", reason}});
}

Metrics::~Metrics() = default;

void Metrics::on_request_finished(const RequestTimes& t) {
  State& s = *state_;
  s.end_to_end.Observe(t.end_to_end);
  s.queue.Observe(t.queue);
  s.prefill.Observe(t.prefill);
  s.decode.Observe(t.decode);
  s.inference.Observe(t.prefill + t.decode);
  s.prompt.Observe(static_cast<double>(t.prompt_tokens));
  s.computed.Observe(static_cast<double>(t.prompt_tokens - t.cached_tokens));
  s.generation.Observe(static_cast<double>(t.generation_tokens));
  s.longest.Observe(static_cast<double>(t.longest_generation));
  s.max_tokens.Observe(static_cast<double>(t.max_tokens));
  s.n.Observe(static_cast<double>(t.n));
  if (t.generation_tokens > t.n)
    s.per_token.Observe(t.decode * static_cast<double>(t.n) / static_cast<double>(t.generation_tokens - t.n));
  const double before = typical_seconds_.load();
  typical_seconds_.store(before == 0 ? t.end_to_end : kForget * before + (1 - kForget) * t.end_to_end);
}

void Metrics::on_choice_finished(const std::string& reason) {
  state_->success.Add({{"finished_reason", reason}}).Increment();
}
void Metrics::on_first_token(double seconds) { state_->first_token.Observe(seconds); }
void Metrics::on_next_token(double seconds) { state_->next_token.Observe(seconds); }

void Metrics::on_step(const engine::StepReport& report) {
  state_->step_tokens.Observe(static_cast<double>(report.tokens));
  state_->step_seconds.Observe(report.seconds);
}

void Metrics::on_response(const std::string& route, int status, double seconds) {
  state_->responses.Add({{"handler", route}, {"status", std::to_string(status)}}).Increment();
  state_->durations.Add({{"handler", route}}, kRequestSeconds).Observe(seconds);
}

void Metrics::on_limit(LimitField limit) {
  if (limit != nullptr) state_->limit_counters.at(limit_info(limit).name)->Increment();
}

void Metrics::set_connections(std::int64_t open) { state_->connections.Set(static_cast<double>(open)); }
void Metrics::set_engine(const engine::Engine* engine) { state_->engine_numbers.set_engine(engine); }
void Metrics::add_stream(int change) { state_->streams.Increment(change); }

void Metrics::set_info(const std::string& isa, const std::string& kernels) {
  state_->info.Add({{"version", kVersion}, {"isa", isa}, {"kernels", kernels}}).Set(1);
}

void Metrics::set_cache_info(const std::map<std::string, std::string>& labels) {
  state_->cache_info.Add({labels.begin(), labels.end()}).Set(1);
}

std::string Metrics::text() const {
  state_->resident.Set(static_cast<double>(peak_rss_bytes()));
  std::vector<MetricFamily> families = state_->registry.Collect();
  for (MetricFamily& family : state_->engine_numbers.Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace awq::server
