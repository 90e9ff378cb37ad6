#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace awq::bench {

/// Takes the bytes of one HTTP/1.x response in pieces of any size. Every part of it is bounded.
class HttpResponseReader {
 public:
  /// `on_body` gets the body in order, without its chunk framing.
  explicit HttpResponseReader(std::function<void(std::string_view)> on_body) : on_body_(std::move(on_body)) {}

  /// Throws kCorruptFile with what is wrong.
  void feed(std::string_view bytes);
  /// The connection ended. Throws kCorruptFile when that cut the response.
  void finish();
  bool done() const { return state_ == State::kDone; }
  /// 0 before the head was read.
  int status() const { return status_; }

 private:
  enum class State { kHead, kChunkSize, kChunkData, kChunkEnd, kTrailer, kCounted, kUntilClose, kDone };
  void read_head(std::string_view head);
  void read_header_line(std::string_view line, bool& has_length);
  /// Takes a line without its end from the buffer; false while it is not complete.
  bool take_line(std::string& line);
  bool step();
  void pass_body(std::uint64_t most, State next);

  std::function<void(std::string_view)> on_body_;
  State state_ = State::kHead;
  std::string buffer_;
  int status_ = 0;
  bool chunked_ = false;
  std::uint64_t left_ = 0;  ///< of the chunk or of the counted body
  std::uint64_t body_bytes_ = 0;
};

/// Takes a stream of server-sent events in pieces of any size and gives the data of each event.
class SseReader {
 public:
  explicit SseReader(std::function<void(std::string_view)> on_data) : on_data_(std::move(on_data)) {}
  /// Throws kCorruptFile for an event beyond kMaxEventBytes.
  void feed(std::string_view bytes);

  static constexpr std::size_t kMaxEventBytes = 1 << 20;

 private:
  void end_line();

  std::function<void(std::string_view)> on_data_;
  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_return_ = false;  ///< a line feed now belongs to the line end before it
};

}  // namespace awq::bench
