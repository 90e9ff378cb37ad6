#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace awq::server {

/// A request whose framing and headers passed the limits. Only what routes look at is kept.
struct HttpRequest {
  std::string method;
  std::string path;   ///< target up to "?"
  std::string query;  ///< behind it
  std::string host, authorization, api_key, content_type, request_id;
  bool keep_alive = true;
  bool http10 = false;
  std::string body;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

std::string_view reason_phrase(int status);

/// Whether a client's name of a request can go into headers and logs as it is: visible ASCII without quotes.
inline constexpr std::size_t kMaxIdBytes = 128;
bool is_plain_id(std::string_view id);

/// Status line and headers. `length` < 0: a chunked body follows, or with `http10` one that ends with the connection.
std::string format_head(const HttpReply& reply, long long length, bool keep_alive, bool http10);
/// One chunk of a chunked body; an empty piece gives the end.
std::string format_chunk(std::string_view piece);
/// "data: ...\n\n"
std::string format_event(std::string_view data);

}  // namespace awq::server
