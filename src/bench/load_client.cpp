#include "bench/load_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/check.h"
#include "base/resources.h"
#include "base/stop.h"
#include "bench/http_response.h"
#include "file/json.h"

namespace awq::bench {
namespace {

constexpr std::size_t kMaxDocumentBytes = 4 << 20;
constexpr std::size_t kMostRefusalBytes = 64 << 10;
constexpr std::size_t kMostReasonBytes = 120;
constexpr int kPollMilliseconds = 100;

using Addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

Addresses resolve(const Endpoint& endpoint) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int problem = getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &wanted, &found); problem != 0) {
    fail(ErrorCode::kNotFound, "{}: no such host: {}", printable(endpoint.host), gai_strerror(problem));
  }
  return {found, freeaddrinfo};
}

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, address, sizeof(v4));
    return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
  }
  if (address->sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, address, sizeof(v6));
  return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

/// A connection with a deadline for all that is done on it.
class Connection {
 public:
  Connection(const Endpoint& endpoint, double timeout_seconds) : deadline_(monotonic_seconds() + timeout_seconds) {
    const Addresses addresses = resolve(endpoint);
    for (const addrinfo* a = addresses.get(); a != nullptr && fd_ < 0; a = a->ai_next) try_connect(*a);
    if (fd_ < 0)
      fail(ErrorCode::kNotFound, "{}:{}: cannot connect: {}", printable(endpoint.host), endpoint.port, reason_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }

  void send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      wait_for(POLLOUT);
      const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (sent < 0) fail(ErrorCode::kNotFound, "cannot send: {}", std::strerror(errno));
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  /// What has come; empty at the end of the stream.
  std::string_view receive() {
    while (true) {
      wait_for(POLLIN);
      const ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (got < 0) fail(ErrorCode::kNotFound, "cannot receive: {}", std::strerror(errno));
      return {buffer_.data(), static_cast<std::size_t>(got)};
    }
  }

 private:
  void try_connect(const addrinfo& a) {
    const int fd = socket(a.ai_family, a.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a.ai_protocol);
    if (fd < 0) {
      reason_ = std::strerror(errno);
      return;
    }
    fd_ = fd;
    int problem = connect(fd, a.ai_addr, a.ai_addrlen) == 0 ? 0 : errno;
    if (problem == EINPROGRESS) {
      wait_for(POLLOUT);
      socklen_t length = sizeof(problem);
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length);
    }
    if (problem == 0) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      return;
    }
    reason_ = std::strerror(problem);
    close(fd);
    fd_ = -1;
  }
  void wait_for(short what) {
    while (true) {
      stop_flag().throw_if_requested();
      if (monotonic_seconds() > deadline_) fail(ErrorCode::kNotFound, "timed out");
      pollfd wanted{.fd = fd_, .events = what, .revents = 0};
      if (poll(&wanted, 1, kPollMilliseconds) > 0) return;
    }
  }

  double deadline_;
  int fd_ = -1;
  std::string reason_ = "no address";
  std::array<char, 65536> buffer_;
};

std::string head(const Endpoint& endpoint, const char* method, const std::string& path) {
  std::string out = fmt::format("{} {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nUser-Agent: awq-bench-serve\r\n",
                                method, endpoint.prefix, path, endpoint.host_header);
  // The name that `awq serve` reads its own key from.
  if (const char* key = std::getenv("AWQ_API_KEY"); key != nullptr && std::strpbrk(key, "\r\n") == nullptr) {
    out += fmt::format("Authorization: Bearer {}\r\n", key);
  }
  return out;
}

void read_response(Connection& connection, HttpResponseReader& reader) {
  while (!reader.done()) {
    const std::string_view bytes = connection.receive();
    if (bytes.empty()) {
      reader.finish();
      return;
    }
    reader.feed(bytes);
  }
}

/// One event of the stream.
void read_event(std::string_view data, StreamedAnswer& out, bool& ended) {
  if (data == "[DONE]") {
    ended = true;
    return;
  }
  const file::Json event = file::parse_json(data, "event", {.max_depth = 32, .max_bytes = SseReader::kMaxEventBytes});
  if (!event.is_object()) fail(ErrorCode::kCorruptFile, "an event is not a JSON object");
  if (event.contains("error")) fail(ErrorCode::kCorruptFile, "the stream ended with an error");
  if (const auto choices = event.find("choices"); choices != event.end() && choices->is_array() && !choices->empty()) {
    const file::Json& choice = choices->front();
    const auto text = choice.is_object() ? choice.find("text") : choice.end();
    if (choice.is_object() && text != choice.end() && text->is_string() &&
        !text->get_ref<const std::string&>().empty()) {
      out.token_times.push_back(monotonic_seconds());
    }
  }
  if (const auto usage = event.find("usage"); usage != event.end() && usage->is_object()) {
    const auto count = usage->find("completion_tokens");
    if (count != usage->end() && count->is_number_unsigned()) out.output_tokens = count->get<std::int64_t>();
  }
}

/// ": " and the message of an OpenAI error, its numbers as N so that equal refusals add up; nothing for another body.
std::string reason_of(const std::string& body) {
  std::string message;
  try {
    const file::Json json = file::parse_json(body, "refusal", {.max_depth = 8, .max_bytes = 2 * kMostRefusalBytes});
    message = json.at("error").at("message").get<std::string>();
  } catch (const std::exception&) {
    return "";
  }
  std::string out = ": ";
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i < message.size() && out.size() < kMostReasonBytes; ++i) {
    if (!is_digit(message[i])) {
      out += message[i];
    } else if (i == 0 || !is_digit(message[i - 1])) {
      out += 'N';
    }
  }
  return printable(out);
}

}  // namespace

Endpoint parse_url(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const auto refuse = [&] {
    fail(ErrorCode::kInvalidArgument, "{}: expected http://host:port (TLS is not spoken)", printable(url));
  };
  if (!url.starts_with(kScheme)) refuse();
  Endpoint out;
  const std::string rest = url.substr(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  out.host_header = rest.substr(0, slash);
  out.prefix = rest.substr(slash);
  while (out.prefix.ends_with('/')) out.prefix.pop_back();
  if (out.prefix.ends_with("/v1")) out.prefix.resize(out.prefix.size() - 3);
  const std::size_t bracket = out.host_header.find(']');  // of an IPv6 address
  const std::size_t colon = out.host_header.find(':', bracket == std::string::npos ? 0 : bracket);
  out.host = out.host_header.substr(0, colon);
  out.port = colon == std::string::npos ? "80" : out.host_header.substr(colon + 1);
  if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
  const auto plain = [](char c) { return c > ' ' && c < 127 && c != '"' && c != '\\'; };
  const char* end = out.port.data() + out.port.size();
  std::uint16_t port = 0;  // a larger one would be cut to these bits, and another server would be asked
  const auto read = std::from_chars(out.port.data(), end, port);
  const bool is_port = read.ec == std::errc() && read.ptr == end && port > 0;
  if (out.host.empty() || !is_port || !std::all_of(url.begin(), url.end(), plain)) refuse();
  return out;
}

void require_loopback(const Endpoint& endpoint) {
  const Addresses addresses = resolve(endpoint);
  for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next) {
    if (!is_loopback(a->ai_addr)) {
      fail(ErrorCode::kInvalidArgument, "{}: not this machine; --allow-remote loads another one on purpose",
           printable(endpoint.host));
    }
  }
}

Answer get(const Endpoint& endpoint, const std::string& path, double timeout_seconds) {
  Connection connection(endpoint, timeout_seconds);
  connection.send_all(head(endpoint, "GET", path) + "\r\n");
  Answer out;
  HttpResponseReader reader([&](std::string_view part) {
    if (out.body.size() + part.size() > kMaxDocumentBytes) {
      fail(ErrorCode::kCorruptFile, "{}: the answer is longer than {} bytes", path, kMaxDocumentBytes);
    }
    out.body += part;
  });
  read_response(connection, reader);
  out.status = reader.status();
  return out;
}

StreamedAnswer stream_completion(const Endpoint& endpoint, const std::string& body, double timeout_seconds) {
  StreamedAnswer out;
  out.start = monotonic_seconds();
  try {
    Connection connection(endpoint, timeout_seconds);
    connection.send_all(head(endpoint, "POST", "/v1/completions") +
                        fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.size()) +
                        body);
    bool ended = false;
    SseReader events([&](std::string_view data) { read_event(data, out, ended); });
    std::string refusal;
    HttpResponseReader* response = nullptr;
    HttpResponseReader reader([&](std::string_view part) {
      if (response->status() == 200) {
        events.feed(part);
      } else if (refusal.size() < kMostRefusalBytes) {
        refusal += part;
      }
    });
    response = &reader;
    read_response(connection, reader);
    if (reader.status() != 200) {
      out.error = fmt::format("status {}{}", reader.status(), reason_of(refusal));
    } else if (!ended) {
      out.error = "the stream has no end mark";
    } else if (out.token_times.empty()) {
      out.error = "no text";
    }
  } catch (const Error& error) {
    out.error = error.message();
  }
  if (out.output_tokens == 0) out.output_tokens = static_cast<std::int64_t>(out.token_times.size());
  out.end = monotonic_seconds();
  return out;
}

}  // namespace awq::bench
