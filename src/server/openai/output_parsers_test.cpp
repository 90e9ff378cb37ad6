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

TEST(OutputParsers, NothingToSplitNeedsNoParser) { EXPECT_EQ(make_output_parser({}), nullptr); }

TEST(OutputParsers, Hermes) {
  const ParserOptions o{.tools = ToolFormat::kHermes};
  check(o, "no call < at all", {"no call < at all", "", {}});
  check(o, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", {"", "", {{"f", "{\"a\":1}"}}});
  check(o,
        "Let me see.\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n<tool_call>{\"name\": \"g\", "
        "\"arguments\": {\"x\": [1]}}</tool_call>\n",
        {"Let me see.\n", "", {{"f", "{}"}, {"g", "{\"x\":[1]}"}}});
  check(o, "<tool_call>{\"name\": \"f\", \"arguments\": {}}", {"", "", {{"f", "{}"}}});
  check(o, "<tool_call>{\"name\": </tool_call>", {"<tool_call>{\"name\": </tool_call>", "", {}});
  check(o, "<tool_call>[1]</tool_call>", {"<tool_call>[1]</tool_call>", "", {}});
  check({.tools = ToolFormat::kHermes, .parallel_calls = false},
        "<tool_call>{\"name\": \"f\"}</tool_call><tool_call>{\"name\": \"g\"}</tool_call>", {"", "", {{"f", "{}"}}});
}

TEST(OutputParsers, Llama3) {
  const ParserOptions o{.tools = ToolFormat::kLlama3};
  check(o, "Hello {x}", {"Hello {x}", "", {}});
  check(o, "{\"name\": \"f\", \"parameters\": {\"s\": \"a;b}\"}}", {"", "", {{"f", "{\"s\":\"a;b}\"}"}}});
  check(o, "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
        {"", "", {{"f", "{}"}, {"g", "{}"}}});
  check(o, "{\"answer\": 5}", {"{\"answer\": 5}", "", {}});
  check(o, "{\"name\": \"f\", ", {"{\"name\": \"f\", ", "", {}});
}

TEST(OutputParsers, Mistral) {
  const ParserOptions o{.tools = ToolFormat::kMistral};
  check(o, "[T is text", {"[T is text", "", {}});
  check(o, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
        {"", "", {{"f", "{\"a\":1}"}, {"g", "{}"}}});
  check(o, "[TOOL_CALLS] f{\"a\": 1}[TOOL_CALLS]g[ARGS]{}", {"", "", {{"f", "{\"a\": 1}"}, {"g", "{}"}}});
}

TEST(OutputParsers, ForcedCalls) {
  check({.tools = ToolFormat::kArguments, .named_function = "f"}, "{\"a\": 1}", {"", "", {{"f", "{\"a\": 1}"}}});
  check({.tools = ToolFormat::kCallList}, "[{\"name\": \"f\", \"parameters\": {\"a\": 1}}]",
        {"", "", {{"f", "{\"a\":1}"}}});
}

TEST(OutputParsers, Reasoning) {
  const ParserOptions o{.reasoning = true};
  check(o, "<think>\nHm < 5.\n</think>\n\nFive.", {"Five.", "Hm < 5.\n", {}});
  check(o, "Five.", {"Five.", "", {}});
  check(o, "<thing>", {"<thing>", "", {}});
  check(o, "<think>never ends </th", {"", "never ends </th", {}});
  check({.reasoning = true, .inside_reasoning = true}, "Hm.</think>Five.", {"Five.", "Hm.", {}});
  check({.reasoning = true, .include_reasoning = false}, "<think>Hm.</think>Five.", {"Five.", "", {}});
  check({.reasoning = true, .tools = ToolFormat::kHermes},
        "<think>Hm.</think>\n<tool_call>{\"name\": \"f\"}</tool_call>", {"", "Hm.", {{"f", "{}"}}});
}

TEST(OutputParsers, FormatsAreFoundInTemplates) {
  EXPECT_EQ(tool_format("auto", "... <tool_call> ..."), ToolFormat::kHermes);
  EXPECT_EQ(tool_format("auto", "... [TOOL_CALLS] ..."), ToolFormat::kMistral);
  EXPECT_EQ(tool_format("auto", "... <|python_tag|> ..."), ToolFormat::kLlama3);
  EXPECT_EQ(tool_format("auto", "plain"), ToolFormat::kNone);
  EXPECT_EQ(tool_format("hermes", ""), ToolFormat::kHermes);
  EXPECT_THROW(tool_format("other", ""), Error);
}

}  // namespace
}  // namespace awq::server
