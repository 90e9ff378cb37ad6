// docs/serving.md and the table of limits say the same.

#include "server/limits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "awq/error.h"
#include "support/paths.h"

namespace awq::server {
namespace {

/// "4 Ki", "1 000 000", "-1"
std::int64_t number(std::string text) {
  std::int64_t unit = 1;
  for (const auto& [suffix, value] : {std::pair{"Ki", 1LL << 10}, {"Mi", 1LL << 20}, {"Gi", 1LL << 30}}) {
    if (!text.ends_with(suffix)) continue;
    unit = value;
    text.resize(text.size() - 2);
  }
  std::erase(text, ' ');
  std::size_t end = 0;
  const std::int64_t out = std::stoll(text, &end) * unit;
  EXPECT_EQ(end, text.size()) << text;
  return out;
}

/// The cells of the rows that begin with a flag in backquotes.
std::vector<std::vector<std::string>> documented() {
  std::ifstream file(std::filesystem::path(AWQ_SOURCE_DIR) / "docs" / "serving.md");
  std::vector<std::vector<std::string>> out;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `--")) continue;
    std::vector<std::string> cells;
    std::istringstream row(line.substr(1));
    for (std::string cell; std::getline(row, cell, '|');) {
      const std::size_t begin = cell.find_first_not_of(' ');
      cells.push_back(begin == std::string::npos ? "" : cell.substr(begin, cell.find_last_not_of(' ') - begin + 1));
    }
    out.push_back(std::move(cells));
  }
  return out;
}

TEST(Limits, TheDocumentHasTheSameTable) {
  const std::vector<std::vector<std::string>> rows = documented();
  ASSERT_EQ(rows.size(), serve_limits().size());
  const ServeLimits defaults;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ServeLimitInfo& limit = serve_limits()[i];
    ASSERT_EQ(rows[i].size(), 5U) << limit.name;
    SCOPED_TRACE(limit.name);
    EXPECT_EQ(rows[i][0], std::string("`--") + limit.name + "`");
    EXPECT_EQ(number(rows[i][1]), defaults.*limit.field);
    const std::size_t to = rows[i][2].find(" to ");
    ASSERT_NE(to, std::string::npos);
    EXPECT_EQ(number(rows[i][2].substr(0, to)), limit.min);
    EXPECT_EQ(number(rows[i][2].substr(to + 4)), limit.max);
    if (limit.status != 0) {
      EXPECT_EQ(rows[i][3], std::to_string(limit.status));
    } else {
      EXPECT_TRUE(rows[i][3] == "connection closed" || rows[i][3] == "request paused") << rows[i][3];
    }
    EXPECT_TRUE(rows[i][4].starts_with(limit.help)) << rows[i][4];
  }
}

TEST(Limits, DefaultsAreInTheirRange) {
  EXPECT_NO_THROW(check_limits({}));
  for (const ServeLimitInfo& limit : serve_limits()) {
    ServeLimits limits;
    limits.*limit.field = limit.max + 1;
    EXPECT_THROW(check_limits(limits), Error) << limit.name;
    limits.*limit.field = limit.min - 1;
    EXPECT_THROW(check_limits(limits), Error) << limit.name;
  }
}

}  // namespace
}  // namespace awq::server
