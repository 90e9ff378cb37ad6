// The language by itself: each case is what Jinja2 3.1 gives in the environment of the reference renderer.

#include <gtest/gtest.h>

#include "awq/error.h"
#include "file/json.h"
#include "template/interpreter.h"
#include "template/json_value.h"
#include "template/parser.h"

namespace awq::templates {
namespace {

std::string run(const std::string& source, const std::string& variables = "{}", const RenderLimits& limits = {}) {
  std::vector<std::pair<std::string, Value>> values;
  const auto json = file::parse_json<file::OrderedJson>(variables, "variables");
  for (const auto& [name, value] : json.items()) values.emplace_back(name, from_json(value));
  return render(parse(source, "test"), "test", std::move(values), limits, {});
}

std::string error_of(const std::string& source, const std::string& variables = "{}", const RenderLimits& limits = {}) {
  try {
    return "no error: " + run(source, variables, limits);
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(Template, WhiteSpace) {
  EXPECT_EQ(run("a\n{% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(run("a  {%- if true -%}  b  {%- endif -%}  c"), "abc");
  EXPECT_EQ(run("  {%+ if true %}x{% endif %}"), "  x");
  EXPECT_EQ(run("x {{- 1 -}} y"), "x1y");
  EXPECT_EQ(run("a\n  {# note #}\nb"), "a\nb");
  EXPECT_EQ(run("{% raw %}{{ x }} {% y %}{% endraw %}"), "{{ x }} {% y %}");
  EXPECT_EQ(run("a\r\nb\r"), "a\nb");
}

TEST(Template, Values) {
  EXPECT_EQ(run("{{ [true, none, 1.0, 'a\\'b', {'k': (1,)}] }}"), "[True, None, 1.0, \"a'b\", {'k': (1,)}]");
  EXPECT_EQ(run("{{ 1e16 }} {{ 1.5e-7 }} {{ 0.1 + 0.2 }} {{ 100.0 }} {{ 123456789.125 }}"),
            "1e+16 1.5e-07 0.30000000000000004 100.0 123456789.125");
  EXPECT_EQ(run("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 7 % -3 }}"),
            "3 -4 2 3.5 1024 -2");
  EXPECT_EQ(run("{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' in 'cat' }} {{ 2 not in [1] }}"),
            "True True True True True");
  EXPECT_EQ(run("{{ 'é😀x'[1] }}{{ 'é😀x'[::-1] }}{{ 'abcde'[-3:-1] }}{{ [1,2,3,4][::2] }}"), "😀x😀écd[1, 3]");
  EXPECT_EQ(run("{{ x }}|{{ x is defined }}|{{ d.no }}|{{ d['no'] is undefined }}", R"({"d":{}})"), "|False||True");
  EXPECT_EQ(run("{{ d.items is defined and d['items'] }}", R"({"d":{"items":3}})"), "3");
  EXPECT_EQ(run("{{ 'a' 'b' ~ 1 ~ none }}"), "ab1None");
  EXPECT_EQ(run("{{ '%s is %d%% or %.2f' % ('x', 5, 1.5) }} {{ '{}-{k:>3}'.format(1, k=2) }}"),
            "x is 5% or 1.50 1-  2");
  EXPECT_EQ(run("{{ 1 if false }}|{{ (1 if false) is defined }}"), "|False");
}

TEST(Template, Scopes) {
  EXPECT_EQ(run("{% set a = 1 %}{% for i in [1,2] %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}"), "231");
  EXPECT_EQ(run("{% if true %}{% set a = 2 %}{% endif %}{{ a }}"), "2");
  EXPECT_EQ(run("{% set n = namespace(a=0) %}{% for i in range(4) %}{% set n.a = n.a + i %}{% endfor %}{{ n.a }}"),
            "6");
  EXPECT_EQ(run("{% macro m(a, b='x') %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}"), "1x32");
  EXPECT_EQ(run("{% set x = 1 %}{% macro m() %}{{ x }}{% endmacro %}{% set x = 2 %}{{ m() }}"), "2");
  EXPECT_EQ(run("{% macro f(n) %}{% if n %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}"), "321");
  EXPECT_EQ(run("{% set t %}a{{ 1 }}{% endset %}[{{ t }}]{% filter upper %}b{% endfilter %}"), "[a1]B");
  EXPECT_EQ(run("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}x{% endcall %}"), "<x>");
  EXPECT_EQ(run("{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}"), "3False");
  EXPECT_EQ(run("{% generation %}g{% endgeneration %}"), "g");
}

TEST(Template, Loops) {
  EXPECT_EQ(run("{% for i in 'abc' %}{{ loop.index }}{{ i }}{{ loop.last }} {% endfor %}"), "1aFalse 2bFalse 3cTrue ");
  EXPECT_EQ(run("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% else %}none{% endfor %}"), "a1");
  EXPECT_EQ(run("{% for i in [] %}x{% else %}none{% endfor %}"), "none");
  EXPECT_EQ(
      run("{% for i in range(9) if i % 2 %}{% if i > 6 %}{% break %}{% endif %}{% if i == 3 %}{% continue %}{% endif %}"
          "{{ i }}{% endfor %}"),
      "15");
  EXPECT_EQ(run("{% for i in [1,2,3] %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a','b') }},{% endfor %}"),
            "2a,13b,2a,");
}

TEST(Template, FiltersAndTests) {
  EXPECT_EQ(
      run("{{ d | tojson }} {{ d | tojson(indent=2) }}", R"({"d":{"b":[1,2.0,"<é\n"],"a":{}}})"),
      "{\"b\": [1, 2.0, \"<é\\n\"], \"a\": {}} {\n  \"b\": [\n    1,\n    2.0,\n    \"<é\\n\"\n  ],\n  \"a\": {}\n}");
  EXPECT_EQ(
      run("{{ 'é😀' | tojson(ensure_ascii=true) }} {{ {'b':1,'a':2} | tojson(sort_keys=true, separators=(',', ':')) }}"),
      "\"\\u00e9\\ud83d\\ude00\" {\"a\":2,\"b\":1}");
  EXPECT_EQ(run("{{ x | default('d') }}{{ '' | default('e', true) }}{{ x | length }}{{ [3,1,2] | sort | join('-') }}"),
            "de01-2-3");
  EXPECT_EQ(run("{{ l | map(attribute='a.b') | list }} {{ l | selectattr('k', 'equalto', 2) | list | length }}",
                R"({"l":[{"a":{"b":1},"k":2},{"a":{"b":5},"k":3}]})"),
            "[1, 5] 1");
  EXPECT_EQ(run("{{ ['b','A','a'] | unique | list }} {{ {'b':1,'a':2} | dictsort }} {{ ' x ' | trim }}|"),
            "['b', 'A'] [('a', 2), ('b', 1)] x|");
  EXPECT_EQ(
      run("{{ 'a\nb' | indent(2) }} {{ 'a-b c' | title }} {{ 'aXb' | lower | replace('x', '+') }} {{ '7' | int + 1 }}"),
      "a\n  b A-B C a+b 8");
  EXPECT_EQ(run("{{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ -3 | abs }} {{ [1,5] | max }} {{ [1,2,3] | sum }}"),
            "2.0 3.14 3 5 6");
  EXPECT_EQ(run("{{ {} is mapping }}{{ 'a' is iterable }}{{ 1 is number }}{{ none is none }}{{ false is false }}{{ 4 "
                "is divisibleby 2 }}"),
            "TrueTrueTrueTrueTrueTrue");
  EXPECT_EQ(
      run("{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'xxax'.strip('x') }}{{ 'ab'.startswith(('x', 'a')) }}"),
      "['a', 'b']['a', 'b,c']aTrue");
  EXPECT_EQ(run("{{ [1,2,3] | reverse | list }} {{ [1,2,3,4,5] | batch(2) | list }}"),
            "[3, 2, 1] [[1, 2], [3, 4], [5]]");
}

TEST(Template, Errors) {
  EXPECT_EQ(error_of("{{ x.y }}"), "'x' is undefined");
  EXPECT_EQ(error_of("{{ d.a.b }}", R"({"d":{}})"), "'dict object' has no attribute 'a'");
  EXPECT_EQ(error_of("{{ 'a' + 1 }}"), "can only concatenate str (not \"int\") to str");
  EXPECT_EQ(error_of("{{ [1].append(2) }}"), "access to attribute 'append' of 'list' object is unsafe.");
  EXPECT_EQ(error_of("{{ ''.__class__.x }}"), "access to attribute '__class__' of 'str' object is unsafe.");
  EXPECT_EQ(error_of("{{ 1 // 0 }}"), "integer division or modulo by zero");
  EXPECT_NE(error_of("{{ 9223372036854775807 + 1 }}").find("64 bits"), std::string::npos);
  EXPECT_NE(error_of("{{ x | nope }}").find("No filter"), std::string::npos);
  try {
    run("{{ raise_exception('not ' ~ 'today') }}");
    FAIL();
  } catch (const TemplateRefusal& refusal) {
    EXPECT_EQ(refusal.message(), "not today");
    EXPECT_EQ(refusal.code(), ErrorCode::kInvalidArgument);
  }
}

TEST(Template, RefusesWhatIsNoTemplate) {
  for (const char* source : {"{{",
                             "{% if %}",
                             "{% if true %}",
                             "{% for x in %}{% endfor %}",
                             "{{ 1 + }}",
                             "{{ (1 }}",
                             "{% endif %}",
                             "{{ 'a }}",
                             "{# x",
                             "{% set 1 = 2 %}",
                             "{% nope %}",
                             "{% break %}",
                             "{{ a b }}",
                             "{% macro m(a, a) %}{% endmacro %}",
                             "{% else %}",
                             "{{ x is }}",
                             "{% raw %}",
                             "\xFF",
                             "{{ 99999999999999999999 }}",
                             "{% include 'x' %}"}) {
    EXPECT_THROW(parse(source, "test"), Error) << source;
  }
  const std::string deep(100'000, '(');
  EXPECT_THROW(parse("{{ " + deep, "test"), Error);
  std::string sum = "{{ 1";
  for (int i = 0; i < 100'000; ++i) sum += "+1";
  EXPECT_THROW(parse(sum + " }}", "test"), Error);
  std::string nots = "{{ ";
  for (int i = 0; i < 100'000; ++i) nots += "not ";
  EXPECT_THROW(parse(nots + "1 }}", "test"), Error);
  std::string ifs;
  for (int i = 0; i < 10'000; ++i) ifs += "{% if 1 %}";
  EXPECT_THROW(parse(ifs, "test"), Error);
}

TEST(Template, BudgetsHold) {
  EXPECT_NE(error_of("{% for i in range(1000) %}{% for j in range(1000) %}{{ i }}{% endfor %}{% endfor %}", "{}",
                     {.steps = 100'000})
                .find("steps"),
            std::string::npos);
  EXPECT_THROW(run("{% for i in range(1000) %}{{ i }}{% endfor %}", "{}", {.steps = 1000}), StepsSpent);
  EXPECT_NE(error_of("{{ range(1000000) }}").find("range too big"), std::string::npos);
  EXPECT_NE(error_of("{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}")
                .find("bytes"),
            std::string::npos);
  EXPECT_NE(error_of("{{ 'x' * 1000000000000 }}").find("bytes"), std::string::npos);
  EXPECT_NE(error_of("{{ [0] * 1000000000000 }}").find("steps"), std::string::npos);
  // A list that holds another one twice, sixty times over, would print as 2^60 numbers.
  EXPECT_NE(
      error_of("{% set n = namespace(l=[1]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}")
          .find("elements"),
      std::string::npos);
  EXPECT_NE(error_of("{% set n = namespace(l=[1]) %}{% for i in range(1000) %}{% set n.l = [n.l] %}{% endfor %}")
                .find("deeper"),
            std::string::npos);
  EXPECT_NE(error_of("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("recursion"), std::string::npos);
  EXPECT_EQ(run("{% set n = namespace() %}{% set n.self = n %}{{ n.self.self is defined }}"), "True");
  EXPECT_NE(error_of("{{ 'aaaa'.replace('', 'b' * 10000000) }}").find("bytes"), std::string::npos);
}

}  // namespace
}  // namespace awq::templates
