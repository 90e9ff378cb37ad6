#include "bench/http_response.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace awq::bench {
namespace {

constexpr std::size_t kMaxHeadBytes = 64 << 10;
constexpr std::size_t kMaxLineBytes = 8 << 10;
constexpr std::uint64_t kMaxBodyBytes = std::uint64_t{1} << 30;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::uint64_t number(std::string_view digits, int base, const char* what) {
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (problem != std::errc() || end != digits.data() + digits.size() || digits.empty() || value > kMaxBodyBytes) {
    fail(ErrorCode::kCorruptFile, "the server's {} is \"{}\", expected a number up to {}", what, printable(digits),
         kMaxBodyBytes);
  }
  return value;
}

}  // namespace

void HttpResponseReader::read_header_line(std::string_view line, bool& has_length) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    fail(ErrorCode::kCorruptFile, "the server's header \"{}\" has no colon", printable(line));
  }
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (same_word(name, "transfer-encoding")) {
    if (!same_word(value, "chunked")) {
      fail(ErrorCode::kCorruptFile, "the server's Transfer-Encoding is \"{}\", expected chunked", printable(value));
    }
    chunked_ = true;
  } else if (same_word(name, "content-length")) {
    left_ = number(value, 10, "Content-Length");
    has_length = true;
  }
}

void HttpResponseReader::read_head(std::string_view head) {
  // "HTTP/1.1 200 OK"
  const std::size_t end = head.find('\n');
  const std::string_view first = trimmed(head.substr(0, end));
  if (!first.starts_with("HTTP/1.") || first.size() < 12 || first[8] != ' ') {
    fail(ErrorCode::kCorruptFile, "expected an HTTP/1.x response, found \"{}\"", printable(first));
  }
  status_ = static_cast<int>(number(first.substr(9, 3), 10, "status"));
  bool has_length = false;
  std::size_t at = end == std::string_view::npos ? head.size() : end + 1;
  while (at < head.size()) {
    const std::size_t line_end = std::min(head.find('\n', at), head.size());
    const std::string_view line = trimmed(head.substr(at, line_end - at));
    if (!line.empty()) read_header_line(line, has_length);
    at = line_end + 1;
  }
  if (status_ >= 100 && status_ < 200) {  // an interim answer: the real one follows
    chunked_ = false;
    left_ = 0;
    return;
  }
  state_ = chunked_ ? State::kChunkSize : has_length ? State::kCounted : State::kUntilClose;
  if (state_ == State::kCounted && left_ == 0) state_ = State::kDone;
}

bool HttpResponseReader::take_line(std::string& line) {
  const std::size_t end = buffer_.find('\n');
  // The same refusal however the bytes were cut.
  if (std::min(end, buffer_.size()) > kMaxLineBytes) {
    fail(ErrorCode::kCorruptFile, "a line of the server's chunked body is longer than {} bytes", kMaxLineBytes);
  }
  if (end == std::string::npos) return false;
  line = std::string(trimmed(std::string_view(buffer_).substr(0, end)));
  buffer_.erase(0, end + 1);
  return true;
}

void HttpResponseReader::pass_body(std::uint64_t most, State next) {
  const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(most, buffer_.size()));
  body_bytes_ += count;
  if (body_bytes_ > kMaxBodyBytes) {
    fail(ErrorCode::kCorruptFile, "the server's body is longer than {} bytes", kMaxBodyBytes);
  }
  on_body_(std::string_view(buffer_).substr(0, count));
  buffer_.erase(0, count);
  left_ -= std::min<std::uint64_t>(left_, count);
  if (count == most) state_ = next;
}

bool HttpResponseReader::step() {
  std::string line;
  switch (state_) {
    case State::kHead: {
      std::size_t end = buffer_.find("\r\n\r\n");
      std::size_t gap = 4;
      if (const std::size_t bare = buffer_.find("\n\n"); bare < end) {
        end = bare;
        gap = 2;
      }
      if (end == std::string::npos ? buffer_.size() > kMaxHeadBytes + gap : end > kMaxHeadBytes) {
        fail(ErrorCode::kCorruptFile, "the head of the server's response is longer than {} bytes", kMaxHeadBytes);
      }
      if (end == std::string::npos) return false;
      const std::string head = buffer_.substr(0, end);
      buffer_.erase(0, end + gap);
      read_head(head);
      return true;
    }
    case State::kChunkSize:
      if (!take_line(line)) return false;
      left_ = number(trimmed(std::string_view(line).substr(0, line.find(';'))), 16, "chunk size");
      state_ = left_ == 0 ? State::kTrailer : State::kChunkData;
      return true;
    case State::kChunkData:
      if (buffer_.empty()) return false;
      pass_body(left_, State::kChunkEnd);
      return true;
    case State::kChunkEnd:
      if (!take_line(line)) return false;
      if (!line.empty()) fail(ErrorCode::kCorruptFile, "a chunk of the server's body is longer than it said");
      state_ = State::kChunkSize;
      return true;
    case State::kTrailer:
      if (!take_line(line)) return false;
      if (line.empty()) state_ = State::kDone;
      return true;
    case State::kCounted:
      if (buffer_.empty()) return false;
      pass_body(left_, State::kDone);
      return true;
    case State::kUntilClose:
      if (buffer_.empty()) return false;
      pass_body(buffer_.size(), State::kUntilClose);
      return true;
    case State::kDone:
      buffer_.clear();
      return false;
  }
  return false;
}

void HttpResponseReader::feed(std::string_view bytes) {
  buffer_.append(bytes);
  while (step()) {
  }
}

void HttpResponseReader::finish() {
  if (state_ == State::kUntilClose) state_ = State::kDone;
  if (state_ != State::kDone) fail(ErrorCode::kCorruptFile, "the server closed the connection within its response");
}

void SseReader::end_line() {
  if (line_.empty()) {  // ends an event
    if (has_data_) on_data_(data_);
    data_.clear();
    has_data_ = false;
    return;
  }
  std::string_view line = line_;
  if (line.starts_with("data") && (line.size() == 4 || line[4] == ':')) {
    line.remove_prefix(std::min<std::size_t>(line.size(), 5));
    if (line.starts_with(' ')) line.remove_prefix(1);
    if (has_data_) data_ += '\n';
    data_ += line;
    has_data_ = true;
  }
  line_.clear();
}

void SseReader::feed(std::string_view bytes) {
  for (const char c : bytes) {
    const bool joined = after_return_ && c == '\n';
    after_return_ = c == '\r';
    if (joined) continue;
    if (c == '\r' || c == '\n') {
      end_line();
      continue;
    }
    line_ += c;
    if (line_.size() + data_.size() > kMaxEventBytes) {
      fail(ErrorCode::kCorruptFile, "an event of the server is longer than {} bytes", kMaxEventBytes);
    }
  }
}

}  // namespace awq::bench
