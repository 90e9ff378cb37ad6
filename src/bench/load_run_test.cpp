#include "bench/load_run.h"

#include <gtest/gtest.h>

#include "awq/error.h"
#include "file/json.h"

namespace awq::bench {
namespace {

TEST(Load, PercentilesAreRanks) {
  std::vector<double> seconds;
  for (int i = 100; i >= 1; --i) seconds.push_back(i * 1e-3);
  const LoadTimes times = times_of(seconds);
  EXPECT_NEAR(times.mean, 50.5, 1e-9);
  EXPECT_NEAR(times.p50, 50, 1e-9);
  EXPECT_NEAR(times.p90, 90, 1e-9);
  EXPECT_NEAR(times.p99, 99, 1e-9);
  EXPECT_NEAR(times.max, 100, 1e-9);
  EXPECT_EQ(times_of({}).p99, 0);
  EXPECT_NEAR(times_of({0.25}).p50, 250, 1e-9);
}

TEST(Load, ErrorsAreCountedAndDoNotSpeedThingsUp) {
  const StreamedAnswer answers[] = {
      {.start = 10, .token_times = {10.5, 10.75, 11.25}, .end = 11.5, .output_tokens = 3, .error = ""},
      {.start = 10, .token_times = {}, .end = 10.1, .output_tokens = 0, .error = "status 503"},
      {.start = 9, .token_times = {}, .end = 9.1, .output_tokens = 0, .error = "status 503"},
      {.start = 12, .token_times = {13}, .end = 14, .output_tokens = 1, .error = ""},
  };
  const LoadPoint point = summarize(2, 10, answers);
  EXPECT_EQ(point.requests, 2);
  EXPECT_EQ(point.errors.at("status 503"), 2);
  EXPECT_EQ(point.seconds, 5);
  EXPECT_EQ(point.output_tokens, 4);
  EXPECT_DOUBLE_EQ(point.output_tokens_per_s, 4.0 / 5);
  EXPECT_DOUBLE_EQ(point.total_tokens_per_s, 24.0 / 5);
  EXPECT_DOUBLE_EQ(point.first_token.p50, 500);
  EXPECT_DOUBLE_EQ(point.first_token.max, 1000);
  EXPECT_DOUBLE_EQ(point.between_tokens.mean, 375);
}

TEST(Load, PromptsShareThePrefixAlone) {
  LoadOptions options;
  options.prompt_tokens = 40;
  options.shared_prefix_tokens = 30;
  const auto ids = [&](std::uint64_t index) {
    return file::parse_json(request_body(options, "m", index), "body")["prompt"].get<std::vector<std::int64_t>>();
  };
  const auto a = ids(1), b = ids(2);
  ASSERT_EQ(a.size(), 40U);
  EXPECT_TRUE(std::equal(a.begin(), a.begin() + 30, b.begin()));
  EXPECT_FALSE(std::equal(a.begin() + 30, a.end(), b.begin() + 30));
  EXPECT_EQ(a, ids(1));
  for (const std::int64_t id : a) {
    EXPECT_GE(id, 10);
    EXPECT_LT(id, options.token_ids_below);
  }
}

TEST(Load, Urls) {
  const Endpoint plain = parse_url("http://localhost:8000");
  EXPECT_EQ(plain.host, "localhost");
  EXPECT_EQ(plain.port, "8000");
  EXPECT_EQ(plain.prefix, "");
  const Endpoint six = parse_url("http://[::1]:81/base/v1/");
  EXPECT_EQ(six.host, "::1");
  EXPECT_EQ(six.port, "81");
  EXPECT_EQ(six.prefix, "/base");
  EXPECT_EQ(parse_url("http://127.0.0.1").port, "80");
  for (const char* bad : {"https://localhost", "localhost:80", "http://", "http://a:b", "http://a:", "http://a b:80",
                          "http://a:80/\r\nX: y", "http://a:123456", "http://a:65536", "http://a:0"}) {
    EXPECT_THROW(parse_url(bad), Error) << bad;
  }
}

TEST(Load, OtherMachinesAreLeftAlone) {
  EXPECT_NO_THROW(require_loopback(parse_url("http://127.0.0.1:9")));
  EXPECT_THROW(require_loopback(parse_url("http://192.0.2.1:9")), Error);
}

}  // namespace
}  // namespace awq::bench
