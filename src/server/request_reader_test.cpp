#include "server/request_reader.h"

#include <gtest/gtest.h>

namespace awq::server {
namespace {

using State = RequestReader::State;

struct Read {
  State state;
  int status = 0;
  HttpRequest request;
  std::size_t left = 0;
};

/// Feeds `text` in pieces of `step` bytes, as a session does: what is not taken comes again.
Read read(const std::string& text, std::size_t step = 1 << 20, const ServeLimits& limits = {}) {
  BodyBudget budget(limits.max_total_body_bytes);
  RequestReader reader(limits, budget);
  std::string inbox;
  for (std::size_t at = 0; at < text.size(); at += step) {
    inbox += text.substr(at, step);
    while (true) {
      const std::size_t used = reader.feed(inbox);
      inbox.erase(0, used);
      if (used == 0 || inbox.empty()) break;
    }
  }
  Read out{.state = reader.state()};
  if (out.state == State::kFailed) out.status = reader.problem().status();
  if (out.state == State::kDone) out.request = reader.take();
  out.left = inbox.size();
  return out;
}

const std::string kGet = "GET /health?x=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\nX-API-Key: j\r\n\r\n";
const std::string kChunked =
    "POST /v1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n";

TEST(RequestReader, ReadsARequestInAnyPieces) {
  for (const std::size_t step : {1, 2, 3, 7, 1000}) {
    const Read get = read(kGet, step);
    ASSERT_EQ(get.state, State::kDone) << step;
    EXPECT_EQ(get.request.method, "GET");
    EXPECT_EQ(get.request.path, "/health");
    EXPECT_EQ(get.request.query, "x=1");
    EXPECT_EQ(get.request.authorization, "Bearer k");
    EXPECT_EQ(get.request.api_key, "j");
    EXPECT_TRUE(get.request.keep_alive);
    const Read post = read("POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde", step);
    ASSERT_EQ(post.state, State::kDone) << step;
    EXPECT_EQ(post.request.body, "abcde");
    EXPECT_FALSE(post.request.keep_alive);
    const Read chunked = read(kChunked, step);
    ASSERT_EQ(chunked.state, State::kDone) << step;
    EXPECT_EQ(chunked.request.body, "abcde");
  }
}

TEST(RequestReader, TakesTargetsInAbsoluteForm) {
  const std::pair<const char*, std::pair<const char*, const char*>> cases[] = {
      {"http://a:80/v1/models?x=y", {"/v1/models", "x=y"}},
      {"http://a", {"/", ""}},
      {"http://a?q=1", {"/", "q=1"}},
      {"/p?u=http://b/c", {"/p", "u=http://b/c"}}};
  for (const auto& [target, expected] : cases) {
    const Read got = read("GET " + std::string(target) + " HTTP/1.1\r\nHost: a\r\n\r\n", 1000);
    ASSERT_EQ(got.state, State::kDone) << target;
    EXPECT_EQ(got.request.path, expected.first) << target;
    EXPECT_EQ(got.request.query, expected.second) << target;
  }
}

TEST(RequestReader, LeavesTheNextRequestAlone) {
  EXPECT_EQ(read(kGet + kGet).left, kGet.size());
  EXPECT_EQ(read(kChunked + kGet).left, kGet.size());
  EXPECT_EQ(read("\r\n" + kGet).state, State::kDone);
}

TEST(RequestReader, RefusesAmbiguousFraming) {
  const std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
  for (const char* fields : {
           "Content-Length: 1\r\nContent-Length: 1\r\n",
           "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
           "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
           "Content-Length: +1\r\n",
           "Content-Length: 1, 1\r\n",
           "Content-Length: 0x1\r\n",
           "Content-Length: 99999999999999999999\r\n",
           "Content-Length:\r\n",
           "Content-Length : 1\r\n",
           "X: a\r\n folded\r\n",
           ": x\r\n",
           "X\r\n",
           "Host: b\r\n",
           "X: a\rb\r\n",
           "X: a\nb\r\n",
       }) {
    EXPECT_EQ(read(start + fields + "\r\nA").status, 400) << fields;
  }
  EXPECT_EQ(read(start + std::string("X: a\0b\r\n\r\n", 10)).status, 400);
  EXPECT_EQ(read("GET / HTTP/1.1\r\n\r\n").status, 400);
  EXPECT_EQ(read("GET / HTTP/2.0\r\nHost: a\r\n\r\n").status, 505);
  EXPECT_EQ(read(start + "Transfer-Encoding: gzip\r\n\r\n").status, 501);
  EXPECT_EQ(read(start + "Transfer-Encoding: gzip, chunked\r\n\r\n").status, 501);
  EXPECT_EQ(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").status, 501);
  EXPECT_EQ(read(start + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nA").status, 415);
  EXPECT_EQ(read(start + "Expect: magic\r\nContent-Length: 1\r\n\r\nA").status, 417);
  EXPECT_EQ(read(start + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n").status, 400);
  EXPECT_EQ(read(start + "Transfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n0\r\n").status, 400);
}

TEST(RequestReader, EveryLimitHasItsStatus) {
  ServeLimits limits;
  limits.max_request_line_bytes = 64;
  limits.max_header_bytes = 512;
  limits.max_headers = 4;
  limits.max_body_bytes = 100;
  const std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
  for (const std::size_t step : {1, 50, 100000}) {
    EXPECT_EQ(read("GET /" + std::string(100, 'x'), step, limits).status, 414);
    const auto line_of = [](std::size_t bytes) { return "GET /" + std::string(bytes - 14, 'x') + " HTTP/1.1"; };
    EXPECT_EQ(read(line_of(64) + "\r\nHost: a\r\n\r\n", step, limits).state, State::kDone);
    EXPECT_EQ(read(line_of(65) + "\r\nHost: a\r\n\r\n", step, limits).status, 414);
    EXPECT_EQ(read(start + "X: " + std::string(600, 'x'), step, limits).status, 431);
    EXPECT_EQ(read(start + "A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n", step, limits).status, 431);
    EXPECT_EQ(read(start + "Content-Length: 101\r\n\r\n", step, limits).status, 413);
    EXPECT_EQ(read(start + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + std::string(101, 'x'), step, limits).status,
              413);
    EXPECT_EQ(read(start + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", step, limits).status, 413);
    EXPECT_EQ(read(start + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(9000, 'x'), step, limits).status, 400);
  }
  // The length is a claim: nothing is held for it. The bytes that came count for all connections together.
  limits.max_total_body_bytes = 64;
  BodyBudget budget(limits.max_total_body_bytes);
  {
    RequestReader reader(limits, budget);
    reader.feed(start + "Content-Length: 100\r\n\r\n");
    EXPECT_EQ(budget.held(), 0);
    reader.feed(std::string(60, 'x'));
    EXPECT_EQ(budget.held(), 60);
    reader.feed(std::string(10, 'x'));
    ASSERT_EQ(reader.state(), State::kFailed);
    EXPECT_EQ(reader.problem().status(), 503);
    EXPECT_GT(reader.problem().retry_after(), 0);
  }
  EXPECT_EQ(budget.held(), 0);
}

TEST(RequestReader, ExpectContinueIsSaidOnce) {
  const ServeLimits limits;
  BodyBudget budget(limits.max_total_body_bytes);
  RequestReader reader(limits, budget);
  reader.feed("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  EXPECT_EQ(reader.state(), State::kBody);
  EXPECT_TRUE(reader.take_expectation());
  EXPECT_FALSE(reader.take_expectation());
  reader.feed("x");
  EXPECT_EQ(reader.state(), State::kDone);
}

}  // namespace
}  // namespace awq::server
