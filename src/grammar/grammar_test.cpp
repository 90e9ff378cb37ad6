#include <gtest/gtest.h>

#include "awq/error.h"
#include "grammar/grammar_test_support.h"

namespace awq::grammar {
namespace {

void expect_matches(const Grammar& grammar, const std::vector<std::string>& yes, const std::vector<std::string>& no) {
  const auto ready = compiled(grammar);
  for (const std::string& text : yes) {
    Matcher matcher(ready);
    EXPECT_TRUE(matcher.accept_bytes(text) && matcher.can_end()) << text;
  }
  for (const std::string& text : no) {
    Matcher matcher(ready);
    EXPECT_FALSE(matcher.accept_bytes(text) && matcher.can_end()) << text;
  }
}

/// The message of the error that `make` throws; every refusal is the client's to mend.
template <typename F>
std::string refusal(const F& make) {
  try {
    compiled(make());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

TEST(Regex, Matches) {
  expect_matches(regex_grammar("a|bc*"), {"a", "b", "bccc"}, {"", "ab", "c", "abc"});
  expect_matches(regex_grammar("^(?:[0-9]{3}-){2}\\d{4}$"), {"555-123-4567"}, {"555-1234567", "555-123-456"});
  expect_matches(regex_grammar("[^a-c]\\."), {"d.", "\xC3\xA9."}, {"a.", "d", "d,"});
  expect_matches(regex_grammar("(?P<x>a+?)(b{2,})?"), {"a", "aaa", "abb", "abbbb"}, {"ab", "b"});
  expect_matches(regex_grammar("[\\w\\-.]+@x"), {"a-b.c@x"}, {"@x", "a b@x"});
  expect_matches(regex_grammar("\\u00e9|\\x41|[\\u4e00-\\u9fff]"), {"\xC3\xA9", "A", "\xE4\xBD\xA0"}, {"B", "\xC3"});
  expect_matches(regex_grammar("."), {"a", "\xF0\x9F\x98\x80"}, {"\n", "ab", "\xF0\x9F\x98", "\x80", "\xED\xA0\x80"});
  expect_matches(regex_grammar("a{0,3}"), {"", "a", "aaa"}, {"aaaa"});
  expect_matches(regex_grammar("(a*)*b"), {"b", "aab"}, {"a"});
  expect_matches(regex_grammar("x{2}{"), {"xx{"}, {"xx"});
}

TEST(Regex, Refuses) {
  for (const char* pattern : {"(",   ")",       "[",      "a**",   "*a",    "(?=a)",        "(?<!a)",
                              "\\1", "\\b",     "a{2,1}", "[b-a]", "(?i)a", "a{999999999}", "a^b",
                              "\\",  "[\\d-z]", "\\p{L}", "a++",   "\\u12", "[[:alpha:]]",  "\xFF"}) {
    EXPECT_NE(refusal([&] { return regex_grammar(pattern); }), "no error") << pattern;
  }
  EXPECT_NE(refusal([] { return regex_grammar(std::string(5000, '(') + std::string(5000, ')')); }), "no error");
  EXPECT_NE(refusal([] { return regex_grammar("((((a{100}){100}){100}){100})"); }), "no error");
  EXPECT_NE(refusal([] { return regex_grammar("[]"); }), "no error");
}

TEST(Regex, CostIsLinear) {
  // Exponential for a backtracking matcher.
  const auto ready = compiled(regex_grammar("(a|a)*(a|aa)*b"));
  Matcher matcher(ready);
  EXPECT_TRUE(matcher.accept_bytes(std::string(100'000, 'a')));
  EXPECT_FALSE(matcher.can_end());
  EXPECT_TRUE(matcher.accept_bytes("b"));
  EXPECT_TRUE(matcher.finished());
}

TEST(Choice, Matches) {
  expect_matches(choice_grammar({"yes", "no", "yes!"}), {"yes", "no", "yes!"}, {"", "ye", "y", "nope"});
  EXPECT_NE(refusal([] { return choice_grammar({}); }), "no error");
}

TEST(Ebnf, Matches) {
  expect_matches(ebnf_grammar(R"ebnf(
# a sum
root ::= term (op term)*
op   ::= [+*] | "-"
term ::= [0-9]+ | "(" root ")"
)ebnf"),
                 {"1", "1+2*3", "(1-(22))*3"}, {"", "1+", "(1", "1)"});
  expect_matches(ebnf_grammar("root ::= \"a\\n\\x41\\u00e9\" [^\\]a-c\\-]{2} x?\nx ::= 'q'"),
                 {"a\nA\xC3\xA9zz", "a\nA\xC3\xA9zzq"}, {"a\nA\xC3\xA9za", "a\nA\xC3\xA9z]"});
  // Nesting that no finite automaton has.
  const std::string deep = std::string(60, '[') + std::string(60, ']');
  expect_matches(ebnf_grammar("root ::= \"[\" root? \"]\""), {"[]", deep}, {deep + "]", "[" + deep});
  // A right-recursive list does not deepen the stack.
  expect_matches(ebnf_grammar("root ::= \"a\" root | \"b\""), {std::string(5000, 'a') + "b"}, {"a"});
}

TEST(Ebnf, Refuses) {
  for (const char* source :
       {"", "x ::= \"a\"", "root ::= root \"a\" | \"b\"", "root ::= x \"a\"\nx ::= y?\ny ::= root", "root ::= missing",
        "root ::= \"a", "root ::= [a", "root ::= (\"a\"", "root ::= \"a\" root", "root ::= \"a\"\nroot ::= \"b\"",
        "root ::= [b-a]", "root ::= \"a\"{3,2}", "root = ? ;"}) {
    EXPECT_NE(refusal([&] { return ebnf_grammar(source); }), "no error") << source;
  }
  EXPECT_NE(refusal([] { return ebnf_grammar("root ::= root \"a\" | \"b\""); }).find("left recursion"),
            std::string::npos);
}

TEST(Json, AnyObject) {
  const Grammar grammar = json_object_grammar();
  expect_matches(
      grammar,
      {"{}", "{ }", R"({"a":1})", R"({"a": [1, -2.5e+3, true, null, "x\n\u00e9\ud83d\ude00"], "b": {"c": {}}})",
       "{\n  \"a\": 1,\n  \"b\": 2\n}"},
      {"", "[]", "1", "{", R"({"a"})", R"({"a":01})", R"({"a":1,})", R"({"a":"\ud83d"})", "{\"a\":\"\n\"}",
       R"({"a":.5})", R"({a:1})"});
}

TEST(Matcher, MasksAreWhatAcceptTakes) {
  // Every token of the mask is taken, and no other.
  for (const Grammar& grammar : {json_object_grammar(), regex_grammar("(ab|abc|\xC3\xA9)+[0-9]{2,4}"),
                                 schema_grammar(R"({"type":"array","items":{"enum":["yes","no",1]}})")}) {
    const auto ready = compiled(grammar);
    const Vocabulary& vocabulary = ready->vocabulary();
    std::mt19937_64 random(7);
    Matcher matcher(ready);
    for (int step = 0; step < 40; ++step) {
      const std::vector<std::int32_t> ids = allowed_ids(matcher, vocabulary);
      std::vector<std::int32_t> taken;
      for (std::size_t id = 0; id < vocabulary.size(); ++id) {
        Matcher copy = matcher;
        if (copy.accept(static_cast<std::int32_t>(id))) taken.push_back(static_cast<std::int32_t>(id));
      }
      ASSERT_EQ(ids, taken);
      const std::int32_t id = ids[random() % ids.size()];
      ASSERT_TRUE(matcher.accept(id));
      if (matcher.finished()) break;
    }
  }
}

TEST(Matcher, SurvivesAnEmptiedCache) {
  // A cache of nothing is emptied before every mask; the matcher finds its place again.
  const auto ready =
      std::make_shared<CompiledGrammar>(json_object_grammar(), test_vocabulary(), MatchLimits{.cache_bytes = 1 << 16});
  Matcher matcher(ready);
  Matcher other(ready);
  std::vector<std::uint32_t> mask(ready->vocabulary().mask_words());
  const std::string text = R"({"a": [1, 2, {"b": "c"}], "long": "xyz"})";
  for (const char byte : text) {
    matcher.allowed(mask);
    const auto id = static_cast<std::size_t>(static_cast<unsigned char>(byte));
    ASSERT_NE(mask[id / 32] >> (id % 32) & 1, 0U) << byte;
    ASSERT_TRUE(matcher.accept(static_cast<std::int32_t>(id)));
    other.allowed(mask);
  }
  EXPECT_TRUE(matcher.finished());
  EXPECT_FALSE(other.finished());
}

TEST(Matcher, EndOfSequence) {
  const auto ready = compiled(regex_grammar("ab*"));
  const std::int32_t eos = ready->vocabulary().eos_ids()[0];
  Matcher matcher(ready);
  EXPECT_FALSE(matcher.accept(eos));
  EXPECT_TRUE(matcher.accept('a'));
  EXPECT_FALSE(matcher.finished());  // more may come
  EXPECT_TRUE(matcher.accept(eos));
  EXPECT_TRUE(matcher.finished());
  EXPECT_FALSE(matcher.accept('b'));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(1 << 20));
}

}  // namespace
}  // namespace awq::grammar
