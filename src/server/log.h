#pragma once

#include <cstdint>
#include <string>

namespace awq::server {

/// What the log says of one request: never its text, its key or its client's address.
struct RequestLog {
  std::string id;
  std::string method;
  std::string route;
  int status = 0;
  std::int64_t prompt_tokens = -1;  ///< -1: not known
  std::int64_t completion_tokens = -1;
  double seconds = 0;
  double first_token_seconds = -1;
  std::string finish;  ///< finish reason or why it was cancelled
};

/// Lines of key=value on standard error. A reader that does not keep up loses lines; it never holds up the server.
/// `level`: debug, info, warning, error or off; throws kInvalidArgument for another.
void start_log(const std::string& level);
void stop_log();
void log_request(const RequestLog& request);
void log_note(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

}  // namespace awq::server
