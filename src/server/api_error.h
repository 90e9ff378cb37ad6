#pragma once

#include <exception>
#include <string>
#include <utility>

#include "server/http_types.h"
#include "server/limits.h"

namespace awq::server {

/// Ends the work on a request with an answer that says why. Status 4xx: the client's mistake, `param` is its field.
class ApiError : public std::exception {
 public:
  ApiError(int status, std::string message, std::string param = {})
      : status_(status), message_(std::move(message)), param_(std::move(param)) {}

  int status() const { return status_; }
  const std::string& message() const { return message_; }
  const std::string& param() const { return param_; }
  const char* what() const noexcept override { return message_.c_str(); }

  /// The limit that the request went beyond, for the metrics; null for other mistakes.
  LimitField limit() const { return limit_; }
  ApiError& set_limit(LimitField field) {
    limit_ = field;
    return *this;
  }
  /// Seconds for the header Retry-After; 0: no header.
  int retry_after() const { return retry_after_; }
  ApiError& set_retry_after(double seconds);
  /// Overrides the type that goes with the status.
  ApiError& set_type(std::string type) {
    type_ = std::move(type);
    return *this;
  }
  std::string type() const;

  /// The JSON body, {"error": {...}}; for 401 the plain form that vLLM's clients know.
  std::string body() const;
  HttpReply reply() const;

 private:
  int status_;
  std::string message_, param_, type_;
  LimitField limit_ = nullptr;
  int retry_after_ = 0;
};

/// 404 for a model that is not served.
ApiError unknown_model(const std::string& name);
/// 400 for a value beyond a limit of the server: "n: 200 is more than 128 (--max-n)".
ApiError beyond_limit(LimitField field, std::int64_t found, std::int64_t limit, const std::string& param);

}  // namespace awq::server
