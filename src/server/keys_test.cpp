#include "server/keys.h"

#include <gtest/gtest.h>

#include <fstream>

#include "awq/error.h"
#include "support/temp_folder.h"

namespace awq::server {
namespace {

TEST(Keys, WithoutKeysEverybodyIsLetIn) { EXPECT_TRUE(Keys().admits("", "")); }

TEST(Keys, BothHeadersAreRead) {
  Keys keys;
  keys.add("secret");
  keys.add("other");
  EXPECT_TRUE(keys.admits("Bearer secret", ""));
  EXPECT_TRUE(keys.admits("bearer  other ", ""));
  EXPECT_TRUE(keys.admits("", "secret"));
  for (const char* bad : {"", "secret", "Bearer", "Bearer ", "Bearer Secret", "Bearer secret1", "Basic secret"}) {
    EXPECT_FALSE(keys.admits(bad, "")) << bad;
  }
  EXPECT_FALSE(keys.admits("", "secre"));
}

TEST(Keys, AFileHasOnePerLine) {
  const test::TempFolder folder;
  std::ofstream(folder / "keys") << "\n  one \r\ntwo\n\n";
  std::ofstream(folder / "empty") << "\n \n";
  const Keys keys = Keys::load(folder / "keys");
  EXPECT_TRUE(keys.admits("Bearer one", ""));
  EXPECT_TRUE(keys.admits("Bearer two", ""));
  EXPECT_FALSE(keys.admits("Bearer ", ""));
  EXPECT_THROW(Keys::load(folder / "empty"), Error);
  EXPECT_THROW(Keys::load(folder / "missing"), Error);
}

}  // namespace
}  // namespace awq::server
