#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "server/limits.h"

namespace awq::server {

/// What one request took, told when it has ended. Times in seconds.
struct RequestTimes {
  double queue = 0;    ///< until its first step
  double prefill = 0;  ///< from there to the first token
  double decode = 0;   ///< from the first token to the last
  double end_to_end = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;  ///< of the prompt, that the prefix cache had
  std::int64_t generation_tokens = 0;
  std::int64_t longest_generation = 0;  ///< of one choice
  std::int64_t n = 1;
  std::int64_t max_tokens = 0;
};

/// Counters under vLLM's names and our own. Any thread.
class Metrics {
 public:
  /// `max_model_len`: how far histograms of tokens go.
  Metrics(const std::string& model_name, const ServeLimits& limits, std::int64_t max_model_len);
  ~Metrics();

  void on_request_finished(const RequestTimes& times);
  void on_choice_finished(const std::string& reason);
  void on_first_token(double seconds);
  void on_next_token(double seconds);
  void on_step(const engine::StepReport& report);
  void on_response(const std::string& route, int status, double seconds);
  void on_limit(LimitField limit);
  void set_connections(std::int64_t open);
  /// Where gauges and the engine's counters come from when they are collected.
  void set_engine(const engine::Engine* engine);
  void set_info(const std::string& isa, const std::string& kernels);
  /// Labels of vllm:cache_config_info.
  void set_cache_info(const std::map<std::string, std::string>& labels);
  void add_stream(int change);

  /// Text for GET /metrics.
  std::string text() const;
  /// Seconds that a request took of late; for Retry-After.
  double typical_seconds() const { return typical_seconds_.load(); }

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::atomic<double> typical_seconds_{0};
};

}  // namespace awq::server
