#include "server/api_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "file/json.h"

namespace awq::server {

ApiError& ApiError::set_retry_after(double seconds) {
  constexpr double kLongest = 300;
  retry_after_ = static_cast<int>(std::ceil(std::clamp(seconds, 1.0, kLongest)));
  return *this;
}

std::string ApiError::type() const {
  if (!type_.empty()) return type_;
  switch (status_) {
    case 400:
      return "BadRequestError";
    case 401:
      return "AuthenticationError";
    case 403:
      return "PermissionDeniedError";
    case 404:
      return "NotFoundError";
    case 422:
      return "UnprocessableEntityError";
    case 429:
      return "RateLimitError";
    case 500:
      return "InternalServerError";
    case 501:
      return "NotImplementedError";
    case 503:
      return "ServiceUnavailableError";
    case 504:
      return "TimeoutError";
    default:
      return std::string(reason_phrase(status_));
  }
}

std::string ApiError::body() const {
  file::OrderedJson out;
  if (status_ == 401) {
    out["error"] = "Unauthorized";
    return out.dump();
  }
  out["error"] = {{"message", message_},
                  {"type", type()},
                  {"param", param_.empty() ? file::OrderedJson(nullptr) : file::OrderedJson(param_)},
                  {"code", status_}};
  return file::to_line(out);
}

HttpReply ApiError::reply() const {
  HttpReply reply{.status = status_, .body = body()};
  if (retry_after_ > 0) reply.headers.emplace_back("Retry-After", std::to_string(retry_after_));
  if (status_ == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

ApiError unknown_model(const std::string& name) {
  return {404, fmt::format("The model `{}` does not exist.", printable(name)), "model"};
}

ApiError beyond_limit(LimitField field, std::int64_t found, std::int64_t limit, const std::string& param) {
  ApiError error(
      400,
      fmt::format("{}: {} is more than this server allows, {} (--{})", param, found, limit, limit_info(field).name),
      param);
  error.set_limit(field);
  return error;
}

}  // namespace awq::server
