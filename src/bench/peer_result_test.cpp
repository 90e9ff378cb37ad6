#include "bench/peer_result.h"

#include <gtest/gtest.h>

#include "awq/error.h"

namespace awq::bench {
namespace {

constexpr PeerSizes kSizes{.prompt = 512, .gen = 64, .depth = 7};

std::string error_of(std::string_view text) {
  try {
    parse_peer_result(text, kSizes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile) << error.what();
    return error.what();
  }
  return "";
}

TEST(PeerResult, LlamaBench) {
  const PeerResult r = parse_peer_result(R"([
    {"model_type": "llama 1B Q4_0", "n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 127.5, "samples_ts": [127.5]},
    {"model_type": "llama 1B Q4_0", "n_prompt": 0, "n_gen": 48, "n_depth": 100, "avg_ts": 50},
    {"model_type": "llama 1B Q4_0", "n_prompt": 16, "n_gen": 16, "n_depth": 0, "avg_ts": 1},
    {"model_type": "llama 1B Q4_0", "n_prompt": 16, "n_gen": 0, "n_depth": 8, "avg_ts": 1}])",
                                         kSizes);
  EXPECT_EQ(r.name, "llama 1B Q4_0");
  ASSERT_EQ(r.tests.size(), 2U);
  EXPECT_TRUE(r.tests[0].same_test({.decode = false, .tokens = 512, .depth = 0}));
  EXPECT_EQ(r.tests[0].tokens_per_s, 127.5);
  EXPECT_TRUE(r.tests[1].same_test({.decode = true, .tokens = 48, .depth = 100}));
  EXPECT_EQ(r.tests[1].tokens_per_s, 50);
  // Older ones know no depth.
  EXPECT_EQ(parse_peer_result(R"([{"n_prompt": 0, "n_gen": 1, "avg_ts": 2}])", kSizes).tests[0].depth, 0);
}

TEST(PeerResult, AwqBench) {
  const PeerResult r = parse_peer_result(R"({"weights": "4 bit", "instruction_set": "avx2", "prompt": 10, "gen": 20,
    "depth": 30, "prefill_tokens_per_s": 1.5, "decode_tokens_per_s": 2.5, "batch": []})",
                                         kSizes);
  EXPECT_EQ(r.name, "awq bench, 4 bit, avx2");
  ASSERT_EQ(r.tests.size(), 2U);
  EXPECT_TRUE(r.tests[0].same_test({.decode = false, .tokens = 10, .depth = 0}));
  EXPECT_TRUE(r.tests[1].same_test({.decode = true, .tokens = 20, .depth = 30}));
  EXPECT_EQ(r.tests[1].tokens_per_s, 2.5);
  // Older ones do not say how many tokens: they ran with the defaults, or with what the command says.
  const PeerResult old = parse_peer_result(R"({"prefill_tokens_per_s": 1, "decode_tokens_per_s": 2})", kSizes);
  EXPECT_TRUE(old.tests[0].same_test({.decode = false, .tokens = 512, .depth = 0}));
  EXPECT_TRUE(old.tests[1].same_test({.decode = true, .tokens = 64, .depth = 7}));
}

TEST(PeerResult, NamesAreMadePrintable) {
  EXPECT_EQ(
      parse_peer_result("[{\"model_type\": \"a\\u001b[2J\", \"n_prompt\": 1, \"n_gen\": 0, \"avg_ts\": 2}]", kSizes)
          .name,
      "a\\x1b[2J");
}

TEST(PeerResult, WhatIsWrongIsNamed) {
  const auto test = [](const std::string& prompt, const std::string& gen, const std::string& rate) {
    return R"([{"n_prompt": )" + prompt + R"(, "n_gen": )" + gen + R"(, "avg_ts": )" + rate + "}]";
  };
  EXPECT_EQ(error_of(test("1", "0", "1")), "");
  for (const char* bad :
       {"-1", "1.5", "1e9", "1048577", "9223372036854775808", "18446744073709551615", "null", "\"1\""}) {
    EXPECT_NE(error_of(test(bad, "0", "1")).find("\"n_prompt\" is "), std::string::npos) << bad;
  }
  for (const char* bad : {"0", "-3", "1e13", "null", "[1]", "{}"}) {
    EXPECT_NE(error_of(test("1", "0", bad)).find("\"avg_ts\" is "), std::string::npos) << bad;
  }
  EXPECT_NE(error_of(test("1", "0", "1e999")).find("not valid JSON"), std::string::npos);
  EXPECT_NE(error_of(test("0", "0", "1")).find("no test"), std::string::npos);
  EXPECT_NE(error_of(test("5", "5", "1")).find("no test"), std::string::npos);
  EXPECT_NE(error_of("[]").find("no test"), std::string::npos);
  EXPECT_NE(error_of("[1]").find("no object"), std::string::npos);
  EXPECT_NE(error_of("[{\"n_gen\": 1, \"avg_ts\": 1}]").find("n_prompt"), std::string::npos);
  EXPECT_NE(error_of("{}").find("\"prefill_tokens_per_s\" is missing"), std::string::npos);
  for (const char* other : {"", "  \n", "| model | size |\n", "\xff\xfe", "nul", "12", "\"text\""}) {
    const std::string message = error_of(other);
    EXPECT_NE(message.find("expected what llama-bench -o json or awq bench --json prints"), std::string::npos)
        << other << ": " << message;
  }
  EXPECT_NE(error_of("[{\"n_prompt\": 1").find("not valid JSON"), std::string::npos);
  EXPECT_NE(error_of("[\"\xff\"]").find("not valid JSON"), std::string::npos);
  EXPECT_NE(error_of(std::string(100, '[')).find("nested deeper"), std::string::npos);
  std::string many = "[";
  for (int i = 0; i < 65; ++i) many += std::string(i > 0 ? "," : "") + R"({"n_prompt": 1, "n_gen": 0, "avg_ts": 1})";
  EXPECT_NE(error_of(many + "]").find("65 tests, expected at most 64"), std::string::npos);
}

}  // namespace
}  // namespace awq::bench
