// Calls whose arguments are elements: Qwen3-Coder's and GLM's notations, read and enforced.

#include "chat/xml_calls.h"

#include <gtest/gtest.h>

#include "awq/error.h"
#include "chat/chat_test_support.h"
#include "file/input_file.h"
#include "file/json.h"
#include "support/shared_data.h"

namespace awq::chat {
namespace {

using file::OrderedJson;
using test::grammar_takes;
using test::summary;

/// One tool `f` with these properties.
OrderedJson tool_with(const char* properties, const char* required = "[]", const char* more = "") {
  const std::string text = std::string(R"([{"type":"function","function":{"name":"f","parameters":{"type":"object",)") +
                           more + R"("properties":)" + properties + R"(,"required":)" + required +
                           R"(}}},{"type":"function","function":{"name":"g"}}])";
  return file::parse_json<OrderedJson>(text, "tools");
}

constexpr const char* kProperties =
    R"({"path":{"type":"string"},"count":{"type":"integer"},"on":{"type":"boolean"},"list":{"type":"array"},)"
    R"("any":{},"either":{"type":["string","null"]},"named":{"$ref":"#/$defs/Name"}})";
constexpr const char* kDefinitions = R"("$defs":{"Name":{"enum":["a","</b>"]}},)";

OutputOptions options(ToolFormat format, const OrderedJson& tools, bool enforced = false) {
  return {.tools = format,
          .reasoning = true,
          .tool_list = std::make_shared<const OrderedJson>(tools),
          .enforced = enforced};
}

std::string qwen(const std::string& arguments) {
  return "<tool_call>\n<function=f>\n" + arguments + "</function>\n</tool_call>";
}
std::string parameter(const std::string& key, const std::string& value) {
  return "<parameter=" + key + ">\n" + value + "\n</parameter>\n";
}
std::string glm(const std::string& arguments) { return "<tool_call>f\n" + arguments + "</tool_call>"; }
std::string pair(const std::string& key, const std::string& value) {
  return "<arg_key>" + key + "</arg_key>\n<arg_value>" + value + "</arg_value>\n";
}

TEST(XmlCalls, QwenIsRead) {
  const OutputOptions o = options(ToolFormat::kQwenXml, tool_with(kProperties, "[]", kDefinitions));
  EXPECT_EQ(summary("<think>hm</think>\n\nLook:\n\n" + qwen(parameter("path", "a \"b\"\n\\c\t\xC3\xA9")), o),
            "hm|Look:|f({\"path\": \"a \\\"b\\\"\\n\\\\c\\t\xC3\xA9\"});");
  // A text that looks like JSON stays a text; what is no text is JSON, as Python writes it too.
  EXPECT_EQ(summary(qwen(parameter("path", "12") + parameter("count", "12") + parameter("on", "True") +
                         parameter("list", "[1, \"x\"]") + parameter("any", "null")),
                    o),
            "||f({\"path\": \"12\", \"count\": 12, \"on\": true, \"list\": [1, \"x\"], \"any\": null});");
  EXPECT_EQ(summary(qwen(parameter("count", "many") + parameter("other", "{\"a\": 1}") + parameter("more", "x y")), o),
            "||f({\"count\": \"many\", \"other\": {\"a\": 1}, \"more\": \"x y\"});");
  EXPECT_EQ(summary(qwen(parameter("either", "null") + parameter("named", "a")), o),
            "||f({\"either\": null, \"named\": \"a\"});");
  EXPECT_EQ(summary(qwen(parameter("either", "some text")), o), "||f({\"either\": \"some text\"});");
  // Only one line feed on each side belongs to the notation.
  EXPECT_EQ(summary(qwen(parameter("path", "\n\nx\n")), o), "||f({\"path\": \"\\n\\nx\\n\"});");
  EXPECT_EQ(summary(qwen("<parameter=path>x</parameter>"), o), "||f({\"path\": \"x\"});");
  EXPECT_EQ(summary(qwen(parameter("path", "</param </parameter")), o), "||f({\"path\": \"</param </parameter\"});");
  EXPECT_EQ(summary(qwen(parameter("path", "")), o), "||f({\"path\": \"\"});");
  EXPECT_EQ(summary(qwen(""), o), "||f({});");
  EXPECT_EQ(summary(qwen(parameter("path", "first") + parameter("path", "second")), o), "||f({\"path\": \"first\"});");
}

TEST(XmlCalls, QwenManyCutOffAndNone) {
  const OutputOptions o = options(ToolFormat::kQwenXml, tool_with(kProperties));
  EXPECT_EQ(summary(qwen(parameter("count", "1")) + "\n" + qwen("") + "\nafter", o), "|after|f({\"count\": 1});f({});");
  EXPECT_EQ(summary("<tool_call>\n<function=f>\n<parameter=path>\nab", o), "||f({\"path\": \"ab);");
  EXPECT_EQ(summary("<tool_call>\n<function=f>\n<parameter=count>\n12", o), "||f({\"count\": );");
  EXPECT_EQ(summary("<tool_call>\n<function=f></tool_call>x", o), "|x|f({});");
  EXPECT_EQ(summary("<tool_call>nonsense", o), "|<tool_call>nonsense|");
  EXPECT_EQ(summary("<tool_call>\n<function=>", o), "|<tool_call>\n<function=>|");
  EXPECT_EQ(summary("say <function=f> and <tool", o), "|say <function=f> and <tool|");
  EXPECT_EQ(summary("<tool_call><function=" + std::string(300, 'n'), o),
            "|<tool_call><function=" + std::string(300, 'n') + "|");
}

TEST(XmlCalls, GlmIsRead) {
  const OutputOptions o = options(ToolFormat::kGlm, tool_with(kProperties, "[]", kDefinitions));
  EXPECT_EQ(summary("\n<think>hm</think>\nLook\n" + glm(pair("path", "a \"b\"\n") + pair("count", "3")), o),
            "hm|Look|f({\"path\": \"a \\\"b\\\"\\n\", \"count\": 3});");
  EXPECT_EQ(summary("<tool_call>f<arg_key>on</arg_key><arg_value>false</arg_value><arg_key>list</arg_key><arg_value>"
                    "[]</arg_value></tool_call><tool_call>g</tool_call>",
                    o),
            "||f({\"on\": false, \"list\": []});g({});");
  EXPECT_EQ(summary("<tool_call>g\n</tool_call> bye", o), "|bye|g({});");
  EXPECT_EQ(summary("<tool_call>\n</tool_call>", o), "|<tool_call>\n</tool_call>|");
  EXPECT_EQ(summary(glm(pair("named", "</b>")), o), "||f({\"named\": \"</b>\"});");
  EXPECT_EQ(summary("<tool_call>f\n<arg_key>path</arg_key>\n<arg_value>cut </arg_", o), "||f({\"path\": \"cut );");
}

TEST(XmlCalls, TextsComeAsTheyAreWritten) {
  OutputParser parser(options(ToolFormat::kQwenXml, tool_with(kProperties)));
  EXPECT_TRUE(parser.push("<tool_call>\n<function=f").empty());
  const auto start = parser.push(">\n<parameter=path");
  ASSERT_EQ(start.size(), 1U);
  EXPECT_EQ(start[0].name, "f");
  EXPECT_EQ(parser.push(">\nab")[0].text, "{\"path\": \"ab");
  EXPECT_EQ(parser.push("c\nd")[0].text, "c\\nd");
  EXPECT_TRUE(parser.push("\n</par").empty());
  EXPECT_EQ(parser.push("ts")[0].text, "\\n</parts");
}

struct GrammarCase {
  const char* schema;
  std::vector<const char*> yes, no;
};

TEST(XmlCalls, GrammarsHoldArgumentsToTheirSchemas) {
  const GrammarCase cases[] = {
      {R"({"type":"string"})", {"", "any\nthing", "<b>\"x\"</b>", "</para"}, {}},
      {R"({"type":"string","enum":["left","right"]})", {"left", "right"}, {"up", "\"left\"", ""}},
      {R"({"const":"x y"})", {"x y"}, {"x"}},
      {R"({"type":"string","pattern":"^[a-z]{2}$"})", {"ab"}, {"a", "a1", "abc"}},
      {R"({"type":"string","minLength":2,"maxLength":3})", {"ab", "abc"}, {"a", "abcd", "a<"}},
      {R"({"type":"string","format":"date"})", {"2024-02-28"}, {"2024-02-31", "x"}},
      {R"({"type":"integer","minimum":3})", {"3", "12"}, {"2", "x", "3.5"}},
      {R"({"type":["string","null"]})", {"null", "\"x\""}, {"x"}},
      {R"({"type":"array","items":{"type":"boolean"}})", {"[]", "[true, false]"}, {"[1]", "true"}},
      {R"({"$ref":"#/$defs/Name"})", {"a", "</b>"}, {"b"}},
      {R"({"anyOf":[{"$ref":"#/$defs/Name"},{"type":"null"}]})", {"\"a\"", "null"}, {"a"}},
      {R"({"type":"object","properties":{"n":{"$ref":"#/$defs/Name"}},"required":["n"]})", {R"({"n": "a"})"}, {"{}"}},
  };
  for (const ToolFormat format : {ToolFormat::kQwenXml, ToolFormat::kGlm}) {
    const bool is_qwen = format == ToolFormat::kQwenXml;
    for (const GrammarCase& c : cases) {
      SCOPED_TRACE(std::string(tool_format_name(format)) + " " + c.schema);
      const OrderedJson tools = tool_with((R"({"v":)" + std::string(c.schema) + "}").c_str(), R"(["v"])", kDefinitions);
      const auto grammar = tool_call_grammar(format, tools, {});
      const auto call = [&](const char* value) {
        return is_qwen ? qwen(parameter("v", value)) : glm(pair("v", value));
      };
      EXPECT_FALSE(grammar_takes(grammar, is_qwen ? qwen("") : glm("")));
      for (const char* value : c.no) EXPECT_FALSE(grammar_takes(grammar, call(value))) << value;
      for (const char* value : c.yes) {
        EXPECT_TRUE(grammar_takes(grammar, call(value))) << value;
        // What the grammar takes is read as one call whose arguments are JSON.
        const ParsedOutput parsed = parse_output(call(value), options(format, tools, true));
        ASSERT_EQ(parsed.calls.size(), 1U);
        EXPECT_EQ(parsed.content, "");
        const auto arguments = file::parse_json<OrderedJson>(parsed.calls[0].arguments, "arguments");
        const bool quoted = std::string_view(value).starts_with('"') ||
                            !is_plain_text(*find_property(tools[0]["function"]["parameters"], "v"));
        EXPECT_EQ(arguments["v"].is_string() && !quoted ? arguments["v"].get<std::string>() : arguments["v"].dump(),
                  quoted ? OrderedJson::parse(value).dump() : std::string(value));
      }
    }
  }
}

TEST(XmlCalls, GrammarsKnowWhichArgumentsAreThere) {
  const OrderedJson tools = tool_with(R"({"a":{"type":"string"},"b":{"type":"integer"}})", R"(["b","c"])");
  const auto any = tool_call_grammar(ToolFormat::kQwenXml, tools, {});
  const std::string a = parameter("a", "x"), b = parameter("b", "1"), c = parameter("c", "[1]");
  EXPECT_TRUE(grammar_takes(any, qwen(a + b + c)));
  EXPECT_TRUE(grammar_takes(any, qwen(b + c)));
  EXPECT_FALSE(grammar_takes(any, qwen(a + b)));
  EXPECT_FALSE(grammar_takes(any, qwen(b + c + parameter("d", "1"))));
  EXPECT_TRUE(grammar_takes(any, qwen(b + c) + "\n<tool_call>\n<function=g>\n</function>\n</tool_call>"));
  EXPECT_FALSE(grammar_takes(tool_call_grammar(ToolFormat::kQwenXml, tools, {.parallel = false}),
                             qwen(b + c) + "\n" + qwen(b + c)));
  EXPECT_FALSE(grammar_takes(tool_call_grammar(ToolFormat::kQwenXml, tools, {.name = "g"}), qwen(b + c)));
  EXPECT_TRUE(grammar_takes(tool_call_grammar(ToolFormat::kQwenXml, tools, {.after_reasoning = true}),
                            "a < </think>\n\n" + qwen(b + c)));
  const auto glm_any = tool_call_grammar(ToolFormat::kGlm, tools, {});
  EXPECT_TRUE(grammar_takes(glm_any, "<tool_call>g</tool_call>\n<tool_call>g\n</tool_call><tool_call>g</tool_call>"));
  EXPECT_TRUE(grammar_takes(glm_any,
                            "<tool_call>f<arg_key>b</arg_key><arg_value>1</arg_value><arg_key>c</arg_key><arg_value>2</"
                            "arg_value></tool_call>"));
}

TEST(XmlCalls, AnEndTagInsideAJsonStringIsNone) {
  const OrderedJson tools = tool_with(R"({"l":{"type":"array","items":{"type":"string"}}})", R"(["l"])");
  const std::string text = qwen(parameter("l", R"(["</parameter> \" </parameter>"])"));
  EXPECT_TRUE(grammar_takes(tool_call_grammar(ToolFormat::kQwenXml, tools, {}), text));
  EXPECT_EQ(summary(text, options(ToolFormat::kQwenXml, tools, true)),
            R"(||f({"l": ["</parameter> \" </parameter>"]});)");
}

TEST(XmlCalls, WhatTemplatesShowIsReadAndEnforced) {
  AWQ_REQUIRE_SHARED(folder, "chat-templates");
  const OrderedJson tools = tool_with(R"({"city":{"type":"string"},"unit":{"enum":["celsius","fahrenheit"]}})");
  int seen = 0;
  for (const file::Json& row : file::read_json_file(folder / "golden.json", {.max_bytes = 64 << 20})) {
    if (row.at("scenario") != "tool_roundtrip" || !row.contains("expected") || !row["expected"].is_string()) continue;
    const std::filesystem::path path = folder / "templates" / row["template"].get<std::string>();
    const ToolFormat format = detect_tool_format(file::read_text_file(path, 1 << 20));
    if (!is_xml(format)) continue;
    SCOPED_TRACE(path.filename().string());
    const auto text = row["expected"].get<std::string>();
    const std::size_t begin = text.rfind("<tool_call>");
    const std::string call = text.substr(begin, text.find("</tool_call>", begin) + 12 - begin);
    EXPECT_EQ(summary(call, options(format, tools)), "||get_weather({\"city\": \"Paris\", \"unit\": \"celsius\"});");
    OrderedJson named = tools;
    named[0]["function"]["name"] = "get_weather";
    EXPECT_TRUE(grammar_takes(tool_call_grammar(format, named, {}), call)) << call;
    ++seen;
  }
  EXPECT_EQ(seen, 5);
}

TEST(XmlCalls, WhatCannotBeWrittenIsRefused) {
  const auto grammar = [](const OrderedJson& tools) { return tool_call_grammar(ToolFormat::kQwenXml, tools, {}); };
  EXPECT_THROW(grammar(tool_with(R"({"a>b":{"type":"string"}})")), Error);
  EXPECT_THROW(grammar(tool_with(R"({"a":{"enum":["x</parameter>"]}})")), Error);
  EXPECT_THROW(grammar(tool_with("{}", "[]", R"("minProperties":1,)")), Error);
  EXPECT_THROW(grammar(tool_with("{}", "[]", R"("anyOf":[{}],)")), Error);
  EXPECT_THROW(grammar(tool_with(R"({"a":{"not":{}}})")), Error);
  OrderedJson named = tool_with("{}");
  named[0]["function"]["name"] = "f\n";
  EXPECT_THROW(grammar(named), Error);
}

}  // namespace
}  // namespace awq::chat
