#include "server/keys.h"

#include <gtest/gtest.h>

#include <fstream>

#include "awq/error.h"
#include "support/temp_folder.h"

namespace awq::server {
namespace {

TEST(Keys, WithoutKeysEverybodyIsLetIn) { EXPECT_EQ(Keys().holder("", ""), ""); }

TEST(Keys, BothHeadersAreRead) {
  Keys keys;
  keys.add("secret");
  keys.add("other");
  EXPECT_TRUE(keys.holder("Bearer secret", "").has_value());
  EXPECT_TRUE(keys.holder("bearer  other ", "").has_value());
  EXPECT_TRUE(keys.holder("", "secret").has_value());
  for (const char* bad : {"", "secret", "Bearer", "Bearer ", "Bearer Secret", "Bearer secret1", "Basic secret"}) {
    EXPECT_FALSE(keys.holder(bad, "").has_value()) << bad;
  }
  EXPECT_FALSE(keys.holder("", "secre").has_value());
}

TEST(Keys, HoldersAreToldApartWhereThereAreSeveral) {
  Keys keys;
  keys.add("one");
  keys.add("one");
  EXPECT_EQ(keys.holder("Bearer one", ""), "");
  keys.add("two");
  const auto one = keys.holder("Bearer one", ""), two = keys.holder("", "two");
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one, keys.holder("", "one"));
  EXPECT_NE(one, two);
  EXPECT_EQ(one->size(), two->size());
  EXPECT_EQ(one->find("one"), std::string::npos);
}

TEST(Keys, AFileHasOnePerLine) {
  const test::TempFolder folder;
  std::ofstream(folder / "keys") << "\n  one \r\ntwo\n\n";
  std::ofstream(folder / "empty") << "\n \n";
  const Keys keys = Keys::load(folder / "keys");
  EXPECT_TRUE(keys.holder("Bearer one", "").has_value());
  EXPECT_TRUE(keys.holder("Bearer two", "").has_value());
  EXPECT_FALSE(keys.holder("Bearer ", "").has_value());
  EXPECT_THROW(Keys::load(folder / "empty"), Error);
  EXPECT_THROW(Keys::load(folder / "missing"), Error);
}

}  // namespace
}  // namespace awq::server
