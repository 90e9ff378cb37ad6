// Every template and conversation of the shared data, against what the reference renderer gives.

#include <gtest/gtest.h>

#include "base/check.h"
#include "file/input_file.h"
#include "file/json.h"
#include "support/shared_data.h"
#include "template/interpreter.h"
#include "template/json_value.h"
#include "template/parser.h"

namespace awq::templates {
namespace {

using Json = file::OrderedJson;

std::tm golden_time() {
  std::tm out{};
  out.tm_year = 2024 - 1900;
  out.tm_mon = 6;
  out.tm_mday = 26;
  out.tm_hour = 12;
  out.tm_wday = 5;
  out.tm_yday = 207;
  return out;
}

std::string render_with(const std::string& source, const std::string& name, const Json& conversation, const Json& row) {
  std::vector<std::pair<std::string, Value>> variables;
  for (const auto& [key, value] : conversation.items()) variables.emplace_back(key, from_json(value));
  for (const char* token : {"bos_token", "eos_token"}) {
    if (!row.at(token).is_null()) variables.emplace_back(token, from_json(row.at(token)));
  }
  return render(parse(source, name), name, std::move(variables), {}, golden_time);
}

TEST(GoldenTemplates, EveryTemplateAndScenario) {
  AWQ_REQUIRE_SHARED(folder, "chat-templates");
  const Json golden = file::read_json_file<Json>(folder / "golden.json");
  const Json scenarios = file::read_json_file<Json>(folder / "scenarios.json").at("scenarios");
  ASSERT_EQ(golden.size(), 306U);
  int texts = 0;
  int errors = 0;
  for (const Json& row : golden) {
    const auto name = row.at("template").get<std::string>();
    const auto scenario = row.at("scenario").get<std::string>();
    SCOPED_TRACE(name + " " + scenario);
    const std::string source = file::read_text_file(folder / "templates" / name, 1 << 20);
    try {
      const std::string text = render_with(source, name, scenarios.at(scenario), row);
      EXPECT_TRUE(row.contains("expected")) << "rendered, expected the error " << row.value("error", "");
      if (row.contains("expected")) {
        EXPECT_EQ(text, row.at("expected").get<std::string>());
        ++texts;
      }
    } catch (const Error& error) {
      if (!row.contains("error")) {
        ADD_FAILURE() << error.what();
        continue;
      }
      // "Kind: message" of Python. A refusal of the template is told apart from an error in it.
      const auto expected = row.at("error").get<std::string>();
      EXPECT_EQ(error.message(), expected.substr(expected.find(": ") + 2));
      EXPECT_EQ(dynamic_cast<const TemplateRefusal*>(&error) != nullptr, expected.starts_with("TemplateError:"));
      ++errors;
    }
  }
  EXPECT_EQ(texts, 273);
  EXPECT_EQ(errors, 33);
}

TEST(GoldenTemplates, InlineCases) {
  AWQ_REQUIRE_SHARED(path, "chat-templates/inline-cases.json");
  const Json document = file::read_json_file<Json>(path);
  Json conversation = Json::object();
  conversation["messages"] = document.at("messages");
  conversation["add_generation_prompt"] = document.at("add_generation_prompt");
  int compared = 0;
  for (const Json& row : document.at("cases")) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    if (!row.at("jinja2").contains("expected")) {
      EXPECT_THROW(render_with(row.at("template").get<std::string>(), "inline", conversation, row), Error);
      continue;
    }
    EXPECT_EQ(render_with(row.at("template").get<std::string>(), "inline", conversation, row),
              row.at("jinja2").at("expected").get<std::string>());
    compared += row.at("agree").get<bool>() ? 1 : 0;
  }
  EXPECT_GE(compared, 10);
}

}  // namespace
}  // namespace awq::templates
