#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "awq/error.h"
#include "grammar/grammar_test_support.h"

namespace awq::grammar {
namespace {

struct Case {
  const char* schema;
  std::vector<std::string> yes;
  std::vector<std::string> no;
};

TEST(JsonSchema, Matches) {
  const std::vector<Case> cases = {
      {R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name"]})",
       {R"({"name":"x"})", R"({"name": "x", "age": 3})"},
       {R"({"age":3})", R"({"age":3,"name":"x"})", R"({"name":"x","more":1})", "{}", R"({"name":1})"}},
      {R"({"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}}})",
       {"{}", R"({"a":null})", R"({"b":null,"c":null})", R"({"a":null,"c":null})"},
       {R"({"c":null,"a":null})", R"({,"a":null})", R"({"a":null "b":null})"}},
      {R"({"type":"object","properties":{"ab":{"const":1}},"required":["ab"],"additionalProperties":{"type":"boolean"}})",
       {R"({"ab":1})", R"({"ab":1,"x":true})", R"({"ab":1,"a":true,"abc":false,"":true})"},
       {R"({"ab":1,"ab":true})", R"({"ab":1,"x":1})", R"({"x":true})"}},
      {R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":2})",
       {R"({"a":1})", R"({"a":1,"b":2})"},
       {"{}", R"({"a":1,"b":2,"c":3})", R"({"a":true})"}},
      {R"({"type":"array","items":{"type":"boolean"},"minItems":1,"maxItems":3})",
       {"[true]", "[true, false,true]"},
       {"[]", "[true,true,true,true]", "[1]", "[true,]"}},
      {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
       {"[]", "[1]", R"([1,"a"])"},
       {R"(["a"])", R"([1,"a",2])"}},
      {R"({"type":"array","prefixItems":[{"const":1}],"items":{"const":2},"minItems":2,"maxItems":4})",
       {"[1,2]", "[1, 2, 2,2]"},
       {"[1]", "[2,2]", "[1,2,2,2,2]"}},
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("\u00e9\n")", "\"\xE4\xBD\xA0\xE5\xA5\xBD\"", R"("\ud83d\ude00x")"},
       {R"("a")", R"("abcd")", "ab"}},
      {R"({"type":"string","pattern":"^a\"b\\\\[0-9]+$"})", {R"("a\"b\\12")"}, {R"("a\"b\\")", R"("xa\"b\\1")"}},
      {R"({"pattern":"q"})", {R"("q")", R"("aqa")"}, {R"("a")", R"("")"}},
      {R"({"type":"string","format":"date"})",
       {R"("2024-02-28")", R"("1999-12-31")"},
       {R"("2024-13-01")", R"("2024-04-31")"}},
      {R"({"format":"date-time"})",
       {R"("2024-01-01T23:59:59Z")", R"("2024-01-01T00:00:00.5+01:30")"},
       {R"("2024-01-01")"}},
      {R"({"format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
      {R"({"type":"integer","minimum":-12,"maximum":105})",
       {"-12", "-1", "0", "9", "42", "99", "100", "105"},
       {"-13", "106", "1000", "01", "-0", "1.0"}},
      {R"({"type":"integer","exclusiveMinimum":0})", {"1", "10", "99999"}, {"0", "-1"}},
      {R"({"type":"integer","minimum":1.5,"exclusiveMaximum":4})", {"2", "3"}, {"1", "4"}},
      {R"({"type":"integer","minimum":95,"maximum":1203})",
       {"95", "99", "100", "999", "1000", "1199", "1203"},
       {"94", "1204", "1300"}},
      {R"({"type":"number","minimum":0,"maximum":1})", {"0", "0.5", "1", "1.0", "0.0"}, {"-0.5", "1.01", "2"}},
      {R"({"type":"number","exclusiveMinimum":-2,"exclusiveMaximum":2})",
       {"-1.99", "0", "1.9", "-1"},
       {"-2", "2", "2.0", "-2.0"}},
      {R"({"type":"number","exclusiveMinimum":0})", {"0.01", "3", "12.5"}, {"0", "0.0", "-1"}},
      {R"({"enum":["a",1,null,{"k":[true]}]})", {R"("a")", "1", "null", R"({"k":[true]})"}, {R"("b")", "2"}},
      {R"({"type":"string","enum":["a",1]})", {R"("a")"}, {"1"}},
      {R"({"const":"x\"y"})", {R"("x\"y")"}, {R"("x")"}},
      {R"({"type":["integer","null"]})", {"1", "null"}, {R"("1")", "true"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"1", R"("a")"}, {R"("ab")", "null"}},
      {R"({"type":"object","properties":{"k":{"type":"string"}},"anyOf":[{"required":["k"]},{"properties":{"z":{"const":1}},"required":["z"]}]})",
       {R"({"k":"v"})", R"({"z":1})", R"({"k":"v","z":1})"},
       {"{}"}},
      {R"({"oneOf":[{"type":"object","properties":{"t":{"const":"a"}},"required":["t"]},{"type":"object","properties":{"t":{"const":"b"},"n":{"type":"integer"}},"required":["t","n"]}]})",
       {R"({"t":"a"})", R"({"t":"b","n":1})"},
       {R"({"t":"b"})", R"({"t":"c"})"}},
      {R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}}},{"properties":{"a":{"minimum":5},"b":{"type":"null"}},"required":["a"]}]})",
       {R"({"a":5})", R"({"a":6,"b":null})"},
       {R"({"a":4})", "{}"}},
      {R"({"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/node"})",
       {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"},
       {R"({"v":1})", R"({"v":1,"next":{}})"}},
      {R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]"}},
      {"true", {"1", "[]", R"({"a":{}})"}, {"", "tru"}},
      {"{}", {"1", "null"}, {"nul"}},
      {R"({"type":"object"})", {"{}", R"({"x":[1]})"}, {"[]"}},
      {R"({"type":"object","properties":{},"additionalProperties":false})", {"{}"}, {R"({"a":1})"}},
      {R"({"required":["q"]})", {R"({"q":1})"}, {"{}"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.schema);
    const auto ready = compiled(schema_grammar(std::string_view(c.schema)));
    for (const std::string& text : c.yes) {
      Matcher matcher(ready);
      EXPECT_TRUE(matcher.accept_bytes(text) && matcher.can_end()) << text;
    }
    for (const std::string& text : c.no) {
      Matcher matcher(ready);
      EXPECT_FALSE(matcher.accept_bytes(text) && matcher.can_end()) << text;
    }
  }
}

TEST(JsonSchema, RefusesWhatItCannotEnforce) {
  for (
      const char* schema :
      {"1",
       "[",
       R"({"type":"thing"})",
       R"({"not":{}})",
       R"({"type":"array","uniqueItems":true})",
       R"({"type":"integer","multipleOf":3})",
       R"({"patternProperties":{"a":{}}})",
       R"({"oneOf":[{"type":"string"},{"minLength":2}]})",
       R"({"$ref":"#/nowhere"})",
       R"({"$ref":"http://example.com/x"})",
       R"x({"pattern":"(?=a)"})x",
       R"({"pattern":"a","maxLength":3})",
       R"({"type":"number","minimum":0.5})",
       R"({"properties":{"a":{}},"minProperties":1})",
       "false",
       R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}})",
       R"({"minLength":-1})",
       R"({"maxLength":1e30})",
       R"({"allOf":[{"type":"string"},{"type":"integer"}]})",
       R"({"type":"integer","minimum":5,"maximum":4})",
       R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       R"({"$defs":{"n":{"properties":{"c":{"$ref":"#/$defs/n"},"d":{"$ref":"#/$defs/n"}}},"m":{"properties":{"c":{"$ref":"#/$defs/m"},"d":{"$ref":"#/$defs/m"}}}},"allOf":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/m"}]})",
       R"({"type":"object","properties":{"self":{"$ref":"#"}},"required":["self"]})"}) {
    try {
      compiled(schema_grammar(std::string_view(schema)));
      ADD_FAILURE() << "accepted " << schema;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << schema << ": " << error.what();
    }
  }
  std::string nested = "{}";
  for (int i = 0; i < 100; ++i) nested = R"({"items":)" + nested + "}";
  EXPECT_THROW(compiled(schema_grammar(
                   std::string_view(R"({"items":)" + nested + R"(,"type":"array","items2":)" + nested + "}"))),
               Error);
}

/// Whatever a random choice of allowed tokens writes is JSON.
TEST(JsonSchema, RandomWalksAreJson) {
  const char* schemas[] = {
      R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"array","items":{"type":"number"}},"c":{"enum":[1,"two"]}},"required":["b"]})",
      R"({"type":"object","properties":{"when":{"format":"date-time"},"n":{"type":"integer","minimum":-50,"maximum":1999}},"required":["when","n"],"additionalProperties":{"type":"boolean"}})",
      R"({"type":"object"})",
      R"({"type":"array","prefixItems":[{"type":"integer","exclusiveMinimum":7},{"format":"date"}],"items":{"type":"number","minimum":-3,"maximum":2},"minItems":2,"maxItems":6})",
      R"({"oneOf":[{"type":"object","properties":{"t":{"const":"a"},"s":{"type":"string","minLength":2,"maxLength":5}},"required":["t","s"]},{"type":"object","properties":{"t":{"const":"b"},"u":{"format":"uuid"}},"required":["t"]}]})",
      R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":["boolean","null"]},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}},"$ref":"#/$defs/n"})",
      R"({"type":"array","items":{"type":"string","pattern":"^[a-z\"]{1,3}\\?$"},"maxItems":4})",
      R"({"allOf":[{"type":"object","properties":{"a":{"type":"number","exclusiveMinimum":0,"maximum":12}}},{"required":["a"]}]})",
      R"({"type":"object","additionalProperties":{"format":"ipv4"},"maxProperties":3})",
      R"({"type":"object","properties":{"ab":{"const":1}},"additionalProperties":{"format":"email"}})"};
  std::mt19937_64 random(3);
  int complete = 0;
  // For tests/golden/check_schema_walks.py, which judges the texts by a library of its own.
  const char* path = std::getenv("AWQ_SCHEMA_WALKS");
  std::ofstream walks(path == nullptr ? "" : path);
  for (const char* schema : schemas) {
    const auto ready = compiled(schema_grammar(std::string_view(schema)));
    for (int i = 0; i < 60; ++i) {
      bool ended = false;
      const std::string text = random_walk(ready, random, 400, ended);
      if (!ended) continue;
      ++complete;
      walks << file::Json{{"schema", file::Json::parse(schema)}, {"text", text}}.dump() << "\n";
      EXPECT_TRUE(file::Json::accept(text)) << text;
    }
  }
  EXPECT_GT(complete, 60);
}

}  // namespace
}  // namespace awq::grammar
