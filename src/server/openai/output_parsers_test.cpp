#include "server/openai/output_parsers.h"

#include <gtest/gtest.h>

#include "awq/error.h"

namespace awq::server {
namespace {

/// What a parser makes of `text` in pieces of `step` bytes, calls joined: the same whatever the pieces are.
ParsedText parse(const ParserOptions& options, const std::string& text, std::size_t step) {
  const std::unique_ptr<OutputParser> parser = make_output_parser(options);
  ParsedText all;
  const auto take = [&](ParsedText& news) {
    all.content += news.content;
    all.reasoning += news.reasoning;
    for (ParsedText::ToolCall& call : news.tool_calls) {
      if (!call.id.empty()) {
        all.tool_calls.push_back(call);
      } else {
        all.tool_calls.back().arguments += call.arguments;
      }
    }
  };
  for (std::size_t at = 0; at < text.size(); at += step) {
    ParsedText news;
    parser->push(text.substr(at, step), news);
    take(news);
  }
  ParsedText news;
  parser->finish(news);
  take(news);
  return all;
}

struct Expected {
  std::string content, reasoning;
  std::vector<std::pair<std::string, std::string>> calls;
};

void check(const ParserOptions& options, const std::string& text, const Expected& expected) {
  for (const std::size_t step : {1, 2, 3, 5, 1000}) {
    const ParsedText found = parse(options, text, step);
    EXPECT_EQ(found.content, expected.content) << text << " in " << step;
    EXPECT_EQ(found.reasoning, expected.reasoning) << text << " in " << step;
    ASSERT_EQ(found.tool_calls.size(), expected.calls.size()) << text << " in " << step;
    for (std::size_t i = 0; i < expected.calls.size(); ++i) {
      EXPECT_EQ(found.tool_calls[i].name, expected.calls[i].first);
      EXPECT_EQ(found.tool_calls[i].arguments, expected.calls[i].second);
      EXPECT_EQ(found.tool_calls[i].index, static_cast<std::int64_t>(i));
    }
  }
}

using Answer = ParserOptions::Answer;
using chat::ToolFormat;

TEST(OutputParsers, NothingToSplitNeedsNoParser) { EXPECT_EQ(make_output_parser({}), nullptr); }

TEST(OutputParsers, CallsOfTheModel) {
  const ParserOptions o{.tools = ToolFormat::kHermes, .tool_names = {"f", "g"}};
  check(o, "no call < at all", {"no call < at all", "", {}});
  check(o, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", {"", "", {{"f", "{\"a\": 1}"}}});
  ParserOptions one = o;
  one.parallel_calls = false;
  check(one,
        "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call><tool_call>{\"name\": \"g\", \"arguments\": "
        "{}}</tool_call>",
        {"", "", {{"f", "{}"}}});
}

TEST(OutputParsers, ForcedCalls) {
  check({.answer = Answer::kArguments, .named_function = "f"}, "{\"a\": 1}", {"", "", {{"f", "{\"a\": 1}"}}});
  check({.answer = Answer::kCallList}, "[{\"name\": \"f\", \"parameters\": {\"a\": 1}}, {\"name\": \"g\"}]",
        {"", "", {{"f", "{\"a\":1}"}, {"g", "{}"}}});
  check({.answer = Answer::kCallList}, "[{\"name\": ", {"[{\"name\": ", "", {}});
}

TEST(OutputParsers, Reasoning) {
  check({.reasoning = true}, "<think>\nHm < 5.\n</think>\n\nFive.", {"Five.", "Hm < 5.", {}});
  check({.reasoning = true, .inside_reasoning = true}, "Hm.</think>Five.", {"Five.", "Hm.", {}});
  check({.reasoning = true, .include_reasoning = false}, "<think>Hm.</think>Five.", {"Five.", "", {}});
}

TEST(OutputParsers, FormatsHaveNames) {
  EXPECT_EQ(tool_format("auto", "... <|python_tag|> ..."), ToolFormat::kLlama3);
  EXPECT_EQ(tool_format("hermes", ""), ToolFormat::kHermes);
  EXPECT_EQ(tool_format("none", "... <|python_tag|> ..."), ToolFormat::kNone);
  EXPECT_THROW(tool_format("other", ""), Error);
}

}  // namespace
}  // namespace awq::server
