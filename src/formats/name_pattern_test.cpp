#include "formats/name_pattern.h"

#include <gtest/gtest.h>

#include "formats/test_support.h"

namespace awq::formats {
namespace {

bool matches(const char* pattern, const char* name) { return NamePattern(pattern).matches(name); }

TEST(NamePattern, ModulesOfRealConfigurations) {
  EXPECT_TRUE(matches(".*self_attn\\.(q|k|v)_proj$", "model.layers.11.self_attn.k_proj"));
  EXPECT_FALSE(matches(".*self_attn\\.(q|k|v)_proj$", "model.layers.11.self_attn.o_proj"));
  EXPECT_FALSE(matches(".*self_attn\\.(q|k|v)_proj$", "model.layers.11.self_attn.q_proj.extra"));
  EXPECT_TRUE(matches("model\\.layers\\.\\d+\\.mlp", "model.layers.3.mlp.down_proj"));  // not to the end
  EXPECT_FALSE(matches("mlp", "model.layers.3.mlp.down_proj"));                         // but from the start
  EXPECT_TRUE(matches("^lm_head$", "lm_head"));
  EXPECT_FALSE(matches("^lm_head$", "xlm_head"));
  EXPECT_TRUE(matches(".*layers\\.(?:[0-9]|1[0-3])\\.", "model.layers.13.mlp"));
  EXPECT_FALSE(matches(".*layers\\.(?:[0-9]|1[0-3])\\.", "model.layers.14.mlp"));
  EXPECT_TRUE(matches("[^.]+\\.embed_tokens", "model.embed_tokens"));
  EXPECT_FALSE(matches("[^.]+\\.embed_tokens", "model.inner.embed_tokens"));
}

TEST(NamePattern, Repetitions) {
  EXPECT_TRUE(matches("a?b+c*$", "bb"));
  EXPECT_TRUE(matches("a?b+c*$", "abccc"));
  EXPECT_FALSE(matches("a?b+c*$", "aabc"));
  EXPECT_FALSE(matches("a?b+c*$", "ac"));
  EXPECT_TRUE(matches("(ab|cd)+$", "abcdab"));
  EXPECT_FALSE(matches("(ab|cd)+$", "abc"));
  EXPECT_TRUE(matches("(a|)b$", "b"));
  EXPECT_TRUE(matches("", "anything"));
  EXPECT_TRUE(matches("$", ""));
  EXPECT_FALSE(matches("$", "x"));
}

// What backtracking would need ages for.
TEST(NamePattern, TakesLinearTime) {
  const std::string name(2000, 'a');
  EXPECT_FALSE(NamePattern("(a*)*(a*)*(a*)*b$").matches(name));
  EXPECT_FALSE(NamePattern("(a|a)+(a|a)+c").matches(name));
}

TEST(NamePattern, RefusesWhatItDoesNotKnow) {
  for (const char* pattern : {"a{2}", "(?=a)", "a**", "(a", "a)", "[a", "\\", "\\b", "*a", "a^", "a$b", "[z-a]"}) {
    SCOPED_TRACE(pattern);
    const std::string said = test::error_of(ErrorCode::kUnsupported, [&] { return NamePattern(pattern); });
    test::expect_parts(said, {"cannot be read", "at byte"});
  }
  test::error_of(ErrorCode::kUnsupported, [] { return NamePattern(std::string(1000, '(')); });
  test::error_of(ErrorCode::kUnsupported, [] { return NamePattern(std::string(5000, 'a')); });
}

}  // namespace
}  // namespace awq::formats
