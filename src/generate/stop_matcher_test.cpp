#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "generate/generation.h"

namespace awq::generate {
namespace {

struct Shown {
  std::string text;
  bool stopped;
};

Shown feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  std::string out;
  for (const std::string& piece : pieces) out += matcher.push(piece);
  const bool stopped = matcher.stopped();
  return {out + matcher.finish(), stopped};
}

TEST(StopMatcher, PassesTextThroughWithoutStops) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStop) {
  const std::vector<std::string> stops = {"END"};
  StopMatcher matcher(stops);
  EXPECT_EQ(matcher.push("a E"), "a ");
  EXPECT_EQ(matcher.push("N"), "");
  EXPECT_EQ(matcher.push("X"), "ENX");
  EXPECT_EQ(matcher.push("EEN"), "E");
  EXPECT_EQ(matcher.push("D and more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("nothing comes any more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, ReleasesAtTheEnd) {
  const Shown shown = feed({"END"}, {"x", "EN"});
  EXPECT_EQ(shown.text, "xEN");
  EXPECT_FALSE(shown.stopped);
}

TEST(StopMatcher, TheFirstOfSeveralStopsWins) {
  EXPECT_EQ(feed({"cd", "b"}, {"abcd"}).text, "a");
  EXPECT_EQ(feed({"bcd", "b"}, {"abcd"}).text, "a");
  EXPECT_EQ(feed({"aab"}, {"a", "a", "a", "b", "z"}).text, "a");
}

TEST(StopMatcher, PiecesDoNotMatter) {
  // Random texts over two letters, cut at random: the result is always the text before the first stop.
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const std::vector<std::string> stops = {seed % 2 == 0 ? "abba" : "aab", "bbbb"};
    std::string text;
    std::vector<std::string> pieces(1);
    for (std::uint64_t i = 0; i < 40; ++i) {
      const char letter = random_bits(seed, i) % 2 == 0 ? 'a' : 'b';
      text += letter;
      pieces.back() += letter;
      if (random_bits(seed, 1000 + i) % 3 == 0) pieces.emplace_back();
    }
    std::size_t cut = std::string::npos;
    for (const std::string& stop : stops) cut = std::min(cut, text.find(stop));
    const Shown shown = feed(stops, pieces);
    EXPECT_EQ(shown.text, text.substr(0, cut)) << text;
    EXPECT_EQ(shown.stopped, cut != std::string::npos);
  }
}

}  // namespace
}  // namespace awq::generate
