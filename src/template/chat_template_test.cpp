#include "template/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>

#include "awq/error.h"
#include "support/temp_folder.h"

namespace awq::templates {
namespace {

using Json = file::OrderedJson;

Json parsed(const std::string& text) { return file::parse_json<Json>(text, "test"); }

constexpr const char* kPlain =
    "{% for m in messages %}{{ bos_token }}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt "
    "%}assistant:{% endif %}";

std::string render(const ChatTemplate& chat, const std::string& messages, RenderOptions options = {}) {
  return chat.render(parsed(messages), options);
}

TEST(ChatTemplate, Renders) {
  const auto chat = ChatTemplate::from_source(kPlain, "test", {{"bos_token", "<s>"}});
  EXPECT_EQ(render(*chat, R"([{"role":"user","content":"hi"}])"), "<s>user: hi\nassistant:");
  RenderOptions open{.add_generation_prompt = false, .continue_final_message = true};
  EXPECT_EQ(render(*chat, R"([{"role":"user","content":"hi"},{"role":"assistant","content":"I am"}])", open),
            "<s>user: hi\n<s>assistant: I am");
  EXPECT_THROW(render(*chat, "[]"), Error);
  EXPECT_THROW(render(*chat, R"([{"content":"x"}])"), Error);
}

TEST(ChatTemplate, TextPartsAndArguments) {
  const auto plain = ChatTemplate::from_source(kPlain, "test", {});
  EXPECT_EQ(render(*plain, R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])"),
            "user: a\nb\nassistant:");
  EXPECT_THROW(render(*plain, R"([{"role":"user","content":[{"type":"image_url","image_url":{}}]}])"), Error);
  const auto parts = ChatTemplate::from_source(
      "{% for m in messages %}{% for p in m['content'] %}[{{ p.text }}]{% endfor %}{% endfor %}", "test", {});
  EXPECT_EQ(render(*parts, R"([{"role":"user","content":[{"type":"text","text":"a"}]}])"), "[a]");
  const auto calls = ChatTemplate::from_source("{{ messages[0].tool_calls[0].function.arguments.a }}", "test", {});
  EXPECT_EQ(
      render(*calls, R"([{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"a\": 1}"}}]}])"),
      "1");
}

TEST(ChatTemplate, VariablesAreAnAllowList) {
  const auto chat = ChatTemplate::from_source("{{ enable_thinking }}{{ bos_token }}", "test", {{"bos_token", "<s>"}});
  RenderOptions options;
  options.variables = parsed(R"({"enable_thinking":false,"not_read":1})");
  EXPECT_EQ(render(*chat, R"([{"role":"user","content":""}])", options), "False<s>");
  for (const char* taken :
       {R"({"messages":[]})", R"({"bos_token":"x"})", R"({"raise_exception":1})", R"({"tokenize":true})"}) {
    options.variables = parsed(taken);
    EXPECT_THROW(render(*chat, R"([{"role":"user","content":""}])", options), Error) << taken;
  }
  EXPECT_TRUE(chat->reads("enable_thinking"));
  EXPECT_FALSE(chat->reads("tools"));
}

TEST(ChatTemplate, LoadsFromAFolder) {
  const test::TempFolder folder;
  EXPECT_EQ(ChatTemplate::load(folder.path()), nullptr);
  std::ofstream(folder.path() / "tokenizer_config.json")
      << R"({"bos_token":{"content":"<b>"},"eos_token":"<e>","chat_template":[{"name":"default","template":"D{{ bos_token }}"},{"name":"tool_use","template":"T{{ eos_token }}"}]})";
  auto chat = ChatTemplate::load(folder.path());
  ASSERT_NE(chat, nullptr);
  EXPECT_EQ(render(*chat, R"([{"role":"user","content":""}])"), "D<b>");
  RenderOptions tools;
  tools.tools = parsed(R"([{"type":"function"}])");
  EXPECT_EQ(render(*chat, R"([{"role":"user","content":""}])", tools), "T<e>");
  std::ofstream(folder.path() / "chat_template.jinja") << "file {{ eos_token }}";
  EXPECT_EQ(render(*ChatTemplate::load(folder.path()), R"([{"role":"user","content":""}])"), "file <e>");
  std::ofstream(folder.path() / "chat_template.jinja") << "{{";
  EXPECT_THROW(ChatTemplate::load(folder.path()), Error);
}

}  // namespace
}  // namespace awq::templates
