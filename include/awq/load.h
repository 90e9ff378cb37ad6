#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace awq {

struct LoadOptions {
  std::string url;    ///< http://host:port of any server with OpenAI's /v1/completions
  std::string model;  ///< name in the requests; empty: the first of /v1/models
  std::vector<std::int64_t> concurrency = {1, 2, 4, 8, 16, 32};  ///< one measurement each
  /// Requests per second with random gaps, instead of a new one when another ends (0); each with each concurrency.
  std::vector<double> rate = {0};
  std::int64_t requests = 0;  ///< of a measurement; 0: four for each concurrent one, at least 16
  std::int64_t prompt_tokens = 128;
  std::int64_t shared_prefix_tokens = 0;  ///< of them, the same in all requests
  std::int64_t output_tokens = 64;
  std::int64_t token_ids_below = 500;  ///< prompts are random ids below this
  double timeout_seconds = 600;        ///< of one request
  std::uint64_t seed = 0;
  bool allow_remote = false;  ///< else only loopback addresses are loaded
  std::function<void(const std::string&)> on_stage;
};

/// Of a set of times, in milliseconds.
struct LoadTimes {
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;
};

struct LoadPoint {
  std::int64_t concurrency = 0;
  double rate = 0;                             ///< as it was asked for
  std::int64_t requests = 0;                   ///< that ended well
  std::map<std::string, std::int64_t> errors;  ///< reason -> count
  double seconds = 0;
  double requests_per_s = 0;
  double output_tokens_per_s = 0;
  double total_tokens_per_s = 0;  ///< prompts counted too
  std::int64_t output_tokens = 0;
  LoadTimes first_token;  ///< from the request's start, connecting included
  LoadTimes between_tokens;
  LoadTimes whole;
};

struct LoadSummary {
  std::string model;
  std::vector<LoadPoint> points;
};

/// Loads a server with streaming requests and measures what its clients see. Throws awq::Error: kInvalidArgument for
/// options, kNotFound for a server that cannot be reached.
LoadSummary bench_server(const LoadOptions& options);

}  // namespace awq
