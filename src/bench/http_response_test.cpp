#include "bench/http_response.h"

#include <gtest/gtest.h>

#include <vector>

#include "awq/error.h"

namespace awq::bench {
namespace {

/// Status and body of a response fed in pieces of `piece` bytes; "error" where it is refused.
std::string read(std::string_view response, std::size_t piece, bool closed = true) {
  std::string body;
  HttpResponseReader reader([&](std::string_view part) { body += part; });
  try {
    for (std::size_t at = 0; at < response.size(); at += piece) reader.feed(response.substr(at, piece));
    if (closed) reader.finish();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    return "error";
  }
  return std::to_string(reader.status()) + (reader.done() ? " " : " open ") + body;
}

TEST(HttpResponse, PiecesOfAnySize) {
  const std::string_view chunked =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n5;x=y\r\nhello\r\n1\r\n \r\n6\r\nworld!\r\n0\r\nA: "
      "b\r\n\r\n";
  const std::string_view counted = "HTTP/1.1 429 Too Many\r\ncontent-length: 4\r\nX: y\r\n\r\nbusy and more";
  const std::string_view open = "HTTP/1.0 200 OK\n\nto the end";
  const std::string_view interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n";
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 1000U}) {
    EXPECT_EQ(read(chunked, piece), "200 hello world!");
    EXPECT_EQ(read(counted, piece), "429 busy");
    EXPECT_EQ(read(open, piece), "200 to the end");
    EXPECT_EQ(read(interim, piece), "204 ");
  }
}

TEST(HttpResponse, RefusesWhatIsBroken) {
  const char* const broken[] = {
      "SSH-2.0-server\r\n\r\n",
      "HTTP/1.1 2x0 OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na",  // cut
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
      "HTTP/1.1 200 OK\r\n",
  };
  for (const char* response : broken) {
    for (const std::size_t piece : {1U, 1000U}) EXPECT_EQ(read(response, piece), "error") << response;
  }
  EXPECT_EQ(read(std::string(100'000, 'x'), 5000, false), "error");
}

std::vector<std::string> events(std::string_view stream, std::size_t piece) {
  std::vector<std::string> out;
  SseReader reader([&](std::string_view data) { out.emplace_back(data); });
  for (std::size_t at = 0; at < stream.size(); at += piece) reader.feed(stream.substr(at, piece));
  return out;
}

TEST(Sse, EventsAreTheSameInPieces) {
  const std::string_view stream =
      ": comment\n\ndata: one\n\nevent: x\ndata:two\r\ndata: lines\r\n\r\ndata\rdata: \r\rdataset: no\n\ndata: "
      "[DONE]\n\ndata: cut";
  const std::vector<std::string> expected = {"one", "two\nlines", "\n", "[DONE]"};
  for (const std::size_t piece : {1U, 2U, 5U, 1000U}) EXPECT_EQ(events(stream, piece), expected) << piece;
}

TEST(Sse, EventsAreBounded) {
  SseReader reader([](std::string_view) {});
  const std::string line = "data: " + std::string(1000, 'x') + "\n";
  EXPECT_THROW(
      {
        for (int i = 0; i < 2000; ++i) reader.feed(line);
      },
      Error);
}

}  // namespace
}  // namespace awq::bench
