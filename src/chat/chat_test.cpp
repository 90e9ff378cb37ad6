#include <gtest/gtest.h>

#include <chrono>

#include "awq/error.h"
#include "chat/chat_test_support.h"
#include "file/input_file.h"
#include "support/shared_data.h"

namespace awq::chat {
namespace {

using file::OrderedJson;
using test::grammar_takes;
using test::summary;

TEST(OutputParser, Reasoning) {
  const OutputOptions thinks{.reasoning = true};
  EXPECT_EQ(summary("<think>\nI see.\n</think>\n\nYes.", thinks), "I see.|Yes.|");
  EXPECT_EQ(summary("  <think></think>Yes", thinks), "|Yes|");
  EXPECT_EQ(summary("Just <think>text</think>", thinks), "|Just <think>text</think>|");
  EXPECT_EQ(summary("<thin", thinks), "|<thin|");
  EXPECT_EQ(summary("<think>cut off </thi", thinks), "cut off </thi||");
  EXPECT_EQ(summary("still thinking\n</think>done", {.reasoning = true, .in_reasoning = true}), "still thinking|done|");
  EXPECT_EQ(summary("<think>x</think>y", {}), "|<think>x</think>y|");
  EXPECT_TRUE(opens_reasoning("<|assistant|><think>\n"));
  EXPECT_FALSE(opens_reasoning("<think>\n\n</think>\n\n"));
  EXPECT_FALSE(opens_reasoning("say <think> twice"));
}

/// A client can have a model say nothing but blanks: each costs the same.
TEST(OutputParser, LongRunsOfBlanksAreReadOnce) {
  const std::string blanks(400'000, ' ');
  const auto begin = std::chrono::steady_clock::now();
  for (const ToolFormat format : tool_formats()) {
    for (const char* before : {"", "x", "<think>", "<think>x", "<think>x</think>", "x<tool_c"}) {
      const std::string text = before + blanks;
      const ParsedOutput found = parse_output(text, {.tools = format, .reasoning = true});
      EXPECT_TRUE(found.calls.empty());
      EXPECT_LE(found.content.size() + found.reasoning.size(), text.size());
    }
  }
  // Read again for each of them it would be hours.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(2));
}

TEST(OutputParser, Hermes) {
  const OutputOptions tools{.tools = ToolFormat::kHermes, .reasoning = true};
  EXPECT_EQ(summary("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"}\"}]}}\n</tool_call>", tools),
            "||f({\"a\": [1, {\"b\": \"}\"}]});");
  EXPECT_EQ(
      summary(
          "Let me see. "
          "\n<tool_call>{\"arguments\":{\"x\":1},\"name\":\"g\"}</tool_call>\n<tool_call>{\"name\":\"h\"}</tool_call>",
          tools),
      "|Let me see.|g({\"x\":1});h({});");
  EXPECT_EQ(summary("<think>hm</think>\n\n<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"q\\\": "
                    "\\\"\\u00e9\\\"}\"}</tool_call>bye",
                    tools),
            "hm|bye|f({\"q\": \"\xC3\xA9\"});");
  EXPECT_EQ(summary("a <tool_call>nonsense", tools), "|a<tool_call>nonsense|");
  EXPECT_EQ(summary("1 < 2 <tool", tools), "|1 < 2 <tool|");
  EXPECT_EQ(summary("<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1", tools), "||f({\"a\": 1);");
  EXPECT_EQ(summary("<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>", tools), "||f(null);");
}

TEST(OutputParser, Llama3) {
  const OutputOptions tools{.tools = ToolFormat::kLlama3, .tool_names = {"f", "g"}};
  EXPECT_EQ(summary("{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}", tools), "||f({\"a\": \"b\"});");
  EXPECT_EQ(summary("<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", "
                    "\"parameters\": {}}",
                    tools),
            "||f({});g({});");
  EXPECT_EQ(summary("The answer {\"name\": 1}", tools), "|The answer {\"name\": 1}|");
  EXPECT_EQ(summary("{\"answer\": 42}", tools), "|{\"answer\": 42}|");
  EXPECT_EQ(summary("{\"name\": \"Bob\", \"age\": 3} ok", tools), "|{\"name\": \"Bob\", \"age\": 3} ok|");
  EXPECT_EQ(summary("<b>bold</b>", tools), "|<b>bold</b>|");
}

TEST(OutputParser, Mistral) {
  const OutputOptions tools{.tools = ToolFormat::kMistral};
  EXPECT_EQ(summary("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
                    tools),
            "||f({\"a\": 1});g({});");
  EXPECT_EQ(summary("Sure [TOOL", tools), "|Sure [TOOL|");
  const OutputOptions named{.tools = ToolFormat::kMistralNamed};
  EXPECT_EQ(summary("[TOOL_CALLS]f[ARGS]{\"a\": \"]\"}[TOOL_CALLS]g[ARGS]{}", named), "||f({\"a\": \"]\"});g({});");
  EXPECT_EQ(summary("[TOOL_CALLS]f{\"a\": 1}", named), "||f({\"a\": 1});");
}

TEST(OutputParser, StreamsArgumentsAsTheyCome) {
  OutputParser parser({.tools = ToolFormat::kHermes});
  EXPECT_TRUE(parser.push("<tool_call>{\"name\": ").empty());
  const auto start = parser.push("\"get\"");
  ASSERT_EQ(start.size(), 1U);
  EXPECT_EQ(start[0].kind, ChatDelta::Kind::kToolStart);
  EXPECT_EQ(start[0].name, "get");
  EXPECT_EQ(start[0].id, "call_0");
  const auto piece = parser.push(", \"arguments\": {\"ci");
  ASSERT_EQ(piece.size(), 1U);
  EXPECT_EQ(piece[0].text, "{\"ci");
  EXPECT_EQ(parser.call_count(), 1);
}

OrderedJson tools() {
  return file::parse_json<OrderedJson>(R"([
    {"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}},
    {"type":"function","function":{"name":"g"}}])",
                                       "tools");
}

TEST(ToolGrammar, SaysCallsThatTheParserReads) {
  struct Case {
    ToolFormat format;
    const char* one;
    const char* two;
  };
  const Case cases[] = {
      {ToolFormat::kHermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
       "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", "
       "\"arguments\": {}}\n</tool_call>"},
      {ToolFormat::kLlama3, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
       "{\"name\": \"f\", \"parameters\": {\"a\": 1}}; {\"name\": \"g\", \"parameters\": {}}"},
      {ToolFormat::kMistral, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}]",
       "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]"},
      {ToolFormat::kMistralNamed, "[TOOL_CALLS]f[ARGS]{\"a\": 1}",
       "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[ARGS]{}"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(tool_format_name(c.format));
    const auto any = tool_call_grammar(c.format, tools(), {});
    EXPECT_TRUE(grammar_takes(any, c.one));
    EXPECT_TRUE(grammar_takes(any, c.two));
    const auto single = tool_call_grammar(c.format, tools(), {.parallel = false});
    EXPECT_TRUE(grammar_takes(single, c.one));
    EXPECT_FALSE(grammar_takes(single, c.two));
    EXPECT_FALSE(grammar_takes(tool_call_grammar(c.format, tools(), {.name = "g"}), c.one));
    const auto thinks = tool_call_grammar(c.format, tools(), {.after_reasoning = true});
    EXPECT_TRUE(grammar_takes(thinks, std::string("a <</think>") + c.one));
    EXPECT_TRUE(grammar_takes(thinks, std::string("a </thi </think>\n\n") + c.one));
    EXPECT_FALSE(grammar_takes(thinks, c.one));
    EXPECT_EQ(summary(c.two, {.tools = c.format}), "||f({\"a\": 1});g({});");
  }
  EXPECT_THROW(tool_call_grammar(ToolFormat::kHermes, tools(), {.name = "h"}), Error);
  EXPECT_THROW(tool_call_grammar(ToolFormat::kHermes, OrderedJson::array(), {}), Error);
  EXPECT_THROW(tool_call_grammar(ToolFormat::kNone, tools(), {}), Error);
}

TEST(ToolFormats, AreRecognised) {
  AWQ_REQUIRE_SHARED(folder, "chat-templates/templates");
  const auto format = [&](const char* name) {
    return std::string(tool_format_name(detect_tool_format(file::read_text_file(folder / name, 1 << 20))));
  };
  EXPECT_EQ(format("Qwen-Qwen3-0.6B.jinja"), "hermes");
  EXPECT_EQ(format("Qwen-Qwen2.5-7B-Instruct.jinja"), "hermes");
  EXPECT_EQ(format("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja"), "hermes");
  EXPECT_EQ(format("meta-llama-Llama-3.1-8B-Instruct.jinja"), "llama3_json");
  EXPECT_EQ(format("mistralai-Mistral-Nemo-Instruct-2407.jinja"), "mistral");
  EXPECT_EQ(format("unsloth-mistral-Devstral-Small-2507.jinja"), "mistral_named");
  for (const char* name :
       {"Qwen3-Coder.jinja", "stepfun-ai-Step-3.5-Flash.jinja", "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.jinja"}) {
    EXPECT_EQ(format(name), "qwen3_coder") << name;
  }
  EXPECT_EQ(format("GLM-4.6.jinja"), "glm45");
  EXPECT_EQ(format("GLM-5.2.jinja"), "glm45");
  EXPECT_EQ(format("ByteDance-Seed-OSS.jinja"), "none");
  EXPECT_EQ(format("google-gemma-2-2b-it.jinja"), "none");
}

}  // namespace
}  // namespace awq::chat
