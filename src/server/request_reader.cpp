#include "server/request_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
// Asio before 1.75 uses std::exchange without including it.
#include <boost/beast/http/basic_parser.hpp>

#include "base/check.h"

namespace awq::server {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;
using Text = boost::beast::string_view;

constexpr std::string_view kEndOfHead = "\r\n\r\n";
// Longest line of a chunk's size and extensions, and all trailers together.
constexpr std::size_t kMaxChunkLine = 4096;
// A body in chunks of one byte takes six bytes on the wire for each.
constexpr std::uint64_t kMaxWireFactor = 8;

std::string_view view(Text text) { return {text.data(), text.size()}; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_token_character(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kMarks.find(c) != std::string_view::npos;
}

}  // namespace

/// Keeps the fields that matter and the decoded body.
class RequestReader::Parser final : public http::basic_parser<true> {
 public:
  Parser(const ServeLimits& limits, BodyBudget& budget) : limits_(limits), budget_(budget) {
    header_limit(static_cast<std::uint32_t>(limits.max_header_bytes) + 8);
    body_limit(static_cast<std::uint64_t>(limits.max_body_bytes));
    eager(true);
  }
  ~Parser() override { budget_.give_back(leased_); }

  HttpRequest request;
  int content_lengths = 0, transfer_encodings = 0, hosts = 0;
  bool chunked = false, bad_encoding = false, expects_continue = false, bad_expectation = false, over_budget = false;

 private:
  void on_request_impl(http::verb, Text method, Text target, int version, error_code&) override {
    request.method = std::string(view(method));
    std::string_view whole = view(target);
    // The form that proxies are asked in (RFC 9112, 3.2.2): servers take it as well.
    if (const std::size_t scheme = whole.find("://"); !whole.starts_with('/') && scheme != std::string_view::npos) {
      whole.remove_prefix(std::min(whole.find_first_of("/?", scheme + 3), whole.size()));
    }
    const std::size_t mark = whole.find('?');
    request.path = std::string(whole.substr(0, mark));
    if (request.path.empty()) request.path.push_back('/');
    if (mark != std::string_view::npos) request.query = std::string(whole.substr(mark + 1));
    request.http10 = version == 10;
  }
  void on_response_impl(int, Text, int, error_code&) override {}
  void on_field_impl(http::field name, Text, Text text, error_code&) override {
    if (in_body_) return;  // trailers are counted by their bytes and not used
    const std::string_view value = view(text);
    switch (name) {
      case http::field::content_length:
        ++content_lengths;
        break;
      case http::field::transfer_encoding:
        ++transfer_encodings;
        chunked = lower(value) == "chunked";
        break;
      case http::field::host:
        ++hosts;
        request.host = std::string(value);
        break;
      case http::field::content_encoding:
        bad_encoding = lower(value) != "identity";
        break;
      case http::field::expect:
        expects_continue = lower(value) == "100-continue";
        bad_expectation = !expects_continue;
        break;
      case http::field::authorization:
        request.authorization = std::string(value);
        break;
      case http::field::content_type:
        request.content_type = std::string(value);
        break;
      default:
        break;
    }
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override { in_body_ = true; }
  std::size_t on_body_impl(Text piece, error_code& ec) override { return add(piece, ec); }
  void on_chunk_header_impl(std::uint64_t, Text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, Text piece, error_code& ec) override { return add(piece, ec); }
  void on_finish_impl(error_code&) override {}

  /// Memory follows the bytes that came, not the length that was claimed.
  std::size_t add(Text piece, error_code& ec) {
    const auto size = static_cast<std::int64_t>(piece.size());
    if (!budget_.take(size)) {
      over_budget = true;
      ec = http::error::body_limit;
      return 0;
    }
    leased_ += size;
    request.body.append(piece.data(), piece.size());
    return piece.size();
  }

  const ServeLimits& limits_;
  BodyBudget& budget_;
  std::int64_t leased_ = 0;
  bool in_body_ = false;
};

RequestReader::RequestReader(const ServeLimits& limits, BodyBudget& budget)
    : limits_(limits), parser_(std::make_unique<Parser>(limits, budget)) {}

RequestReader::~RequestReader() = default;

void RequestReader::fail(ApiError error) {
  state_ = State::kFailed;
  problem_ = std::move(error);
}

std::size_t RequestReader::feed(std::string_view bytes) {
  if (bytes.empty() || state_ == State::kDone || state_ == State::kFailed) return 0;
  return state_ == State::kHead ? feed_head(bytes) : feed_body(bytes);
}

std::size_t RequestReader::feed_head(std::string_view bytes) {
  // One empty line before a request is allowed (RFC 9112, 2.2).
  if (head_.empty() && bytes.starts_with("\r\n")) return 2;
  if (head_.empty() && bytes == "\r") return 0;
  const std::size_t seen = head_.size();
  const auto most = static_cast<std::size_t>(limits_.max_header_bytes);
  const std::string_view piece = bytes.substr(0, most + 1 - std::min(most, seen));
  head_ += piece;
  const std::size_t end = head_.find(kEndOfHead, seen < kEndOfHead.size() ? 0 : seen - kEndOfHead.size() + 1);
  const std::size_t line_end = head_.find("\r\n");
  std::string_view line = std::string_view(head_).substr(0, line_end);
  if (line_end == std::string::npos && line.ends_with('\r')) line.remove_suffix(1);  // half of its end
  check_request_line(line);
  if (state_ == State::kFailed) return piece.size();
  if (end == std::string::npos || end + kEndOfHead.size() > most) {
    if (head_.size() > most) {
      fail(ApiError(431, fmt::format("the headers are longer than {} bytes", most))
               .set_limit(&ServeLimits::max_header_bytes));
    }
    return piece.size();
  }
  head_.resize(end + kEndOfHead.size());
  check_head();
  return head_.size() - seen;
}

void RequestReader::check_request_line(std::string_view line) {
  if (static_cast<std::int64_t>(line.size()) > limits_.max_request_line_bytes) {
    fail(ApiError(414, fmt::format("the request line is longer than {} bytes", limits_.max_request_line_bytes))
             .set_limit(&ServeLimits::max_request_line_bytes));
  }
}

void RequestReader::check_head() {
  const auto bad = [&](const std::string& what) { fail(ApiError(400, "malformed request: " + what)); };
  std::string_view rest = head_;
  std::int64_t fields = -1;  // the first line is the request line
  while (rest != "\r\n") {
    const std::size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    const bool clean = std::all_of(line.begin(), line.end(), [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
    });
    if (!clean) return bad("a control character in the headers");
    if (++fields == 0) {
      if (line.find('\t') != std::string_view::npos) return bad("the request line");
      continue;
    }
    if (line.front() == ' ' || line.front() == '\t') return bad("a folded header");
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, colon);
    if (colon == std::string_view::npos || name.empty() || !std::all_of(name.begin(), name.end(), is_token_character))
      return bad("a header without a name");
    const std::string_view value = line.substr(colon + 1);
    const std::size_t begin = value.find_first_not_of(" \t");
    const std::string_view bare = begin == std::string_view::npos
                                      ? std::string_view()
                                      : value.substr(begin, value.find_last_not_of(" \t") - begin + 1);
    const std::string key = lower(name);
    if (key == "x-api-key") parser_->request.api_key = std::string(bare);
    if (key == "x-request-id") parser_->request.request_id = std::string(bare);
    if (key == "content-length" &&
        (bare.empty() || bare.size() > 18 ||
         !std::all_of(bare.begin(), bare.end(), [](char c) { return c >= '0' && c <= '9'; })))
      return bad("Content-Length is not a number");
  }
  if (fields > limits_.max_headers) {
    return fail(ApiError(431, fmt::format("{} headers, at most {} are accepted", fields, limits_.max_headers))
                    .set_limit(&ServeLimits::max_headers));
  }
  error_code ec;
  const std::size_t used = parser_->put(boost::asio::const_buffer(head_.data(), head_.size()), ec);
  Parser& p = *parser_;
  if (ec == http::error::body_limit) {
    return fail(ApiError(413, fmt::format("the body is longer than {} bytes", limits_.max_body_bytes))
                    .set_limit(&ServeLimits::max_body_bytes));
  }
  if (ec == http::error::bad_version) return fail(ApiError(505, "expected HTTP/1.1"));
  if (ec && ec != http::error::need_more) return bad(ec.message());
  if (used != head_.size() || !p.is_header_done()) return bad("the headers");
  if (p.content_lengths > 1 || p.transfer_encodings > 1 || (p.content_lengths > 0 && p.transfer_encodings > 0))
    return bad("the length of the body is given more than once");
  if (p.transfer_encodings > 0 && (!p.chunked || p.request.http10))
    return fail(ApiError(501, "Transfer-Encoding: only chunked is known, with HTTP/1.1"));
  if (p.hosts > 1 || (p.hosts == 0 && !p.request.http10)) return bad("expected one Host header");
  if (p.bad_encoding) return fail(ApiError(415, "compressed bodies are not accepted"));
  if (p.bad_expectation) return fail(ApiError(417, "Expect: only 100-continue is known"));
  p.request.keep_alive = p.keep_alive();
  state_ = p.is_done() ? State::kDone : State::kBody;
  expectation_ = p.expects_continue && state_ == State::kBody;
}

std::size_t RequestReader::feed_body(std::string_view bytes) {
  // Every chunked body ends with the five bytes of "0 CRLF CRLF"; Beast counts on seeing that many at once.
  constexpr std::size_t kLastChunk = 5;
  if (parser_->chunked && bytes.size() < kLastChunk) return 0;
  error_code ec;
  const std::size_t used = parser_->put(boost::asio::const_buffer(bytes.data(), bytes.size()), ec);
  wire_bytes_ += used;
  if (parser_->is_done()) {
    state_ = State::kDone;
    return used;
  }
  const bool wasteful =
      wire_bytes_ > kMaxWireFactor * static_cast<std::uint64_t>(limits_.max_body_bytes) + kMaxChunkLine;
  if (parser_->over_budget) {
    fail(ApiError(503, "the server holds too many request bodies, try again")
             .set_retry_after(1)
             .set_limit(&ServeLimits::max_total_body_bytes));
  } else if (ec == http::error::body_limit || wasteful) {
    fail(ApiError(413, fmt::format("the body is longer than {} bytes", limits_.max_body_bytes))
             .set_limit(&ServeLimits::max_body_bytes));
  } else if (ec && ec != http::error::need_more) {
    fail(ApiError(400, "malformed body: " + ec.message()));
  } else if (bytes.size() - used > kMaxChunkLine) {
    fail(ApiError(400, "malformed body: a chunk's size or the trailers do not end"));
  }
  return used;
}

bool RequestReader::take_expectation() { return std::exchange(expectation_, false); }

HttpRequest RequestReader::take() {
  AWQ_CHECK(state_ == State::kDone);
  return std::move(parser_->request);
}

}  // namespace awq::server
