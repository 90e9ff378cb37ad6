#include "bench/load_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>

#include "base/check.h"
#include "base/random.h"
#include "base/resources.h"
#include "base/stop.h"
#include "file/json.h"

namespace awq::bench {
namespace {

constexpr std::int64_t kMostClients = 4096;
constexpr std::int64_t kMostRequests = 1'000'000;
constexpr std::int64_t kMostTokens = 1 << 20;
/// Ids below this are often special tokens.
constexpr std::int64_t kFirstId = 10;
constexpr double kShortTimeout = 30;

void check_range(const char* flag, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most) {
    fail(ErrorCode::kInvalidArgument, "{} {}: expected {} to {}", flag, value, least, most);
  }
}

void check_options(const LoadOptions& o) {
  if (o.concurrency.empty()) fail(ErrorCode::kInvalidArgument, "--concurrency: expected at least one number");
  for (const std::int64_t clients : o.concurrency) check_range("--concurrency", clients, 1, kMostClients);
  check_range("--requests", o.requests, 0, kMostRequests);
  check_range("--prompt", o.prompt_tokens, 1, kMostTokens);
  check_range("--shared-prefix", o.shared_prefix_tokens, 0, o.prompt_tokens);
  check_range("--gen", o.output_tokens, 1, kMostTokens);
  check_range("--ids-below", o.token_ids_below, kFirstId + 1, kMostTokens);
  if (o.rate.empty()) fail(ErrorCode::kInvalidArgument, "--rate: expected at least one number");
  for (const double rate : o.rate) {
    if (!(rate >= 0 && rate <= 1e5)) fail(ErrorCode::kInvalidArgument, "--rate {}: expected 0 to 100000", rate);
  }
  if (!(o.timeout_seconds > 0 && o.timeout_seconds <= 86400)) {
    fail(ErrorCode::kInvalidArgument, "--timeout {}: expected more than 0, at most 86400", o.timeout_seconds);
  }
}

std::string first_model(const Endpoint& endpoint) {
  const Answer answer = get(endpoint, "/v1/models", kShortTimeout);
  if (answer.status != 200) {
    fail(ErrorCode::kNotFound, "/v1/models: the server answered {}; --model names one without asking", answer.status);
  }
  const file::Json list = file::parse_json(answer.body, "/v1/models", {.max_depth = 32});
  if (list.is_object() && list.contains("data") && list["data"].is_array() && !list["data"].empty()) {
    const file::Json& first = list["data"].front();
    if (first.is_object() && first.contains("id") && first["id"].is_string()) return first["id"].get<std::string>();
  }
  fail(ErrorCode::kCorruptFile, "/v1/models: expected {{\"data\": [{{\"id\": name}}]}}");
}

void sleep_until(double when) {
  while (true) {
    stop_flag().throw_if_requested();
    const double left = when - monotonic_seconds();
    if (left <= 0) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.1)));
  }
}

/// Moments at which requests start, in seconds from the first: gaps of a Poisson process.
std::vector<double> arrivals(const LoadOptions& options, double rate, std::int64_t count) {
  std::vector<double> out;
  double at = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back(at);
    at += -std::log(1 - uniform(options.seed + 1, static_cast<std::uint64_t>(i))) / rate;
  }
  return out;
}

LoadPoint measure(const LoadOptions& options, const Endpoint& endpoint, const std::string& model, std::int64_t clients,
                  double rate, std::uint64_t first_index) {
  const std::int64_t count = options.requests > 0 ? options.requests : std::max<std::int64_t>(16, 4 * clients);
  const std::vector<double> starts = rate > 0 ? arrivals(options, rate, count) : std::vector<double>();
  std::vector<StreamedAnswer> answers(static_cast<std::size_t>(count));
  std::atomic<std::int64_t> next{0};
  const double begin = monotonic_seconds();
  const auto client = [&] {
    try {
      for (std::int64_t i = next++; i < count; i = next++) {
        const auto at = static_cast<std::size_t>(i);
        if (!starts.empty()) sleep_until(begin + starts[at]);
        stop_flag().throw_if_requested();
        answers[at] =
            stream_completion(endpoint, request_body(options, model, first_index + at), options.timeout_seconds);
      }
    } catch (const Error&) {  // a stop: the main thread reports it
    }
  };
  std::vector<std::thread> threads;
  for (std::int64_t i = 0; i < std::min(clients, count); ++i) threads.emplace_back(client);
  for (std::thread& thread : threads) thread.join();
  stop_flag().throw_if_requested();
  LoadPoint out = summarize(clients, options.prompt_tokens, answers);
  out.rate = rate;
  return out;
}

}  // namespace

LoadTimes times_of(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::sort(seconds.begin(), seconds.end());
  const auto rank = [&](double share) {
    const auto at = static_cast<std::size_t>(std::ceil(share * static_cast<double>(seconds.size())));
    return 1e3 * seconds[std::max<std::size_t>(at, 1) - 1];
  };
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  return {.mean = 1e3 * sum / static_cast<double>(seconds.size()),
          .p50 = rank(0.5),
          .p90 = rank(0.9),
          .p99 = rank(0.99),
          .max = 1e3 * seconds.back()};
}

LoadPoint summarize(std::int64_t concurrency, std::int64_t prompt_tokens, std::span<const StreamedAnswer> answers) {
  LoadPoint out;
  out.concurrency = concurrency;
  std::vector<double> first, between, whole;
  double begin = 0, end = 0;
  for (const StreamedAnswer& answer : answers) {
    if (out.requests == 0 && out.errors.empty()) begin = answer.start;
    begin = std::min(begin, answer.start);
    end = std::max(end, answer.end);
    if (!answer.error.empty()) {
      ++out.errors[answer.error];
      continue;
    }
    ++out.requests;
    out.output_tokens += answer.output_tokens;
    first.push_back(answer.token_times.front() - answer.start);
    whole.push_back(answer.end - answer.start);
    for (std::size_t i = 1; i < answer.token_times.size(); ++i) {
      between.push_back(answer.token_times[i] - answer.token_times[i - 1]);
    }
  }
  out.seconds = end - begin;
  if (out.seconds > 0) {
    out.requests_per_s = static_cast<double>(out.requests) / out.seconds;
    out.output_tokens_per_s = static_cast<double>(out.output_tokens) / out.seconds;
    out.total_tokens_per_s = static_cast<double>(out.output_tokens + out.requests * prompt_tokens) / out.seconds;
  }
  out.first_token = times_of(std::move(first));
  out.between_tokens = times_of(std::move(between));
  out.whole = times_of(std::move(whole));
  return out;
}

std::string request_body(const LoadOptions& options, const std::string& model, std::uint64_t index) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < options.prompt_tokens; ++i) {
    // Request 0 of another stream makes the part that all share.
    const std::uint64_t stream =
        i < options.shared_prefix_tokens ? mix64(options.seed) : mix64(options.seed + 2) + index;
    const auto range = static_cast<std::uint64_t>(options.token_ids_below - kFirstId);
    ids.push_back(kFirstId + static_cast<std::int64_t>(random_bits(stream, static_cast<std::uint64_t>(i)) % range));
  }
  file::OrderedJson body;
  body["model"] = model;
  body["prompt"] = ids;
  body["max_tokens"] = options.output_tokens;
  body["temperature"] = 0;
  body["ignore_eos"] = true;  // of vLLM, llama.cpp and ours: all answers have the same length
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  return body.dump();
}

LoadSummary load_server(const LoadOptions& options) {
  check_options(options);
  const Endpoint endpoint = parse_url(options.url);
  if (!options.allow_remote) require_loopback(endpoint);
  const auto stage = [&](const std::string& text) {
    if (options.on_stage) options.on_stage(text);
  };
  LoadSummary out;
  out.model = options.model.empty() ? first_model(endpoint) : options.model;
  stage("one request to warm up");
  if (const StreamedAnswer probe =
          stream_completion(endpoint, request_body(options, out.model, 0), options.timeout_seconds);
      !probe.error.empty()) {
    stop_flag().throw_if_requested();
    fail(ErrorCode::kNotFound, "{}: the first request failed: {}", options.url, probe.error);
  }
  std::uint64_t index = 1;  // no prompt is sent twice: a prefix cache would answer it
  for (const std::int64_t clients : options.concurrency) {
    for (const double rate : options.rate) {
      stage(rate > 0 ? fmt::format("{} clients, {} requests per second", clients, rate)
                     : fmt::format("{} clients", clients));
      out.points.push_back(measure(options, endpoint, out.model, clients, rate, index));
      index += kMostRequests;
    }
  }
  return out;
}

}  // namespace awq::bench
