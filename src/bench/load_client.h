#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace awq::bench {

/// Where a server is.
struct Endpoint {
  std::string host;
  std::string port;
  std::string prefix;       ///< path before /v1, without a final slash
  std::string host_header;  ///< as the URL has it
};
/// "http://host[:port][/prefix]". Throws kInvalidArgument.
Endpoint parse_url(const std::string& url);
/// Throws kNotFound when the name has no address, kInvalidArgument when one of them is not loopback.
void require_loopback(const Endpoint& endpoint);

struct Answer {
  int status = 0;
  std::string body;
};
/// GET of a short document. Throws kNotFound, kCorruptFile.
Answer get(const Endpoint& endpoint, const std::string& path, double timeout_seconds);

/// What a client saw of one streamed completion. Times are of monotonic_seconds().
struct StreamedAnswer {
  double start = 0;
  std::vector<double> token_times;  ///< of events with text
  double end = 0;
  std::int64_t output_tokens = 0;  ///< as the server counts; else the events with text
  std::string error;  ///< short and without numbers that differ, so that equal ones add up; empty: all went well
};
/// POST of `body` to /v1/completions, read to its end; never throws for what the server does. Stops early with an
/// error when a stop of the process is requested.
StreamedAnswer stream_completion(const Endpoint& endpoint, const std::string& body, double timeout_seconds);

}  // namespace awq::bench
