#include "quantize/journal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "awq/error.h"
#include "support/checkpoints.h"
#include "support/temp_folder.h"

namespace awq::quantize {
namespace {

using file::OrderedJson;

class JournalTest : public testing::Test {
 protected:
  /// A journal of three records, and its text.
  void SetUp() override {
    Journal journal(path_, {});
    for (const OrderedJson& record : records_) journal.append(record);
    text_ = test::read_bytes(path_);
  }
  test::TempFolder folder_;
  std::filesystem::path path_ = folder_ / "journal";
  std::vector<OrderedJson> records_ = {{{"binding", "x"}}, {{"layer", 0}, {"error", 0.125}}, {{"layer", 1}}};
  std::string text_;
};

TEST_F(JournalTest, ReadsWhatWasWritten) {
  EXPECT_EQ(Journal::read(path_), records_);
  EXPECT_TRUE(Journal::read(folder_ / "missing").empty());
}

TEST_F(JournalTest, EveryTornEndDropsTheLastRecordOnly) {
  std::vector<std::size_t> line_ends;
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') line_ends.push_back(i + 1);
  }
  ASSERT_EQ(line_ends.size(), 3U);
  for (std::size_t size = 0; size <= text_.size(); ++size) {
    test::write_bytes(path_, std::string_view(text_).substr(0, size));
    const auto whole = static_cast<std::size_t>(
        std::count_if(line_ends.begin(), line_ends.end(), [&](std::size_t end) { return end <= size; }));
    EXPECT_EQ(Journal::read(path_),
              std::vector<OrderedJson>(records_.begin(), records_.begin() + static_cast<std::ptrdiff_t>(whole)))
        << "cut at " << size;
  }
}

TEST_F(JournalTest, EveryDamagedByteIsFound) {
  const std::size_t last_line = text_.rfind('\n', text_.size() - 2) + 1;
  for (std::size_t at = 0; at < text_.size(); ++at) {
    std::string damaged = text_;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    test::write_bytes(path_, damaged);
    if (at >= last_line - 1) {  // with the line end before it: that joins two records to one torn one
      EXPECT_EQ(Journal::read(path_).size(), at >= last_line ? 2U : 1U) << "byte " << at << ": as torn";
      continue;
    }
    try {
      Journal::read(path_);
      ADD_FAILURE() << "byte " << at << " is damaged and nobody noticed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
      EXPECT_NE(std::string(error.what()).find("damaged"), std::string::npos) << error.what();
    }
  }
}

TEST_F(JournalTest, ContinuesAfterTheKeptRecords) {
  test::write_bytes(path_, text_ + "torn");
  {
    Journal journal(path_, Journal::read(path_));
    journal.append({{"layer", 2}});
  }
  std::vector<OrderedJson> expected = records_;
  expected.push_back({{"layer", 2}});
  EXPECT_EQ(Journal::read(path_), expected);
  Journal again(path_, {});
  EXPECT_TRUE(Journal::read(path_).empty()) << "no records to keep: a new journal";
}

TEST(Binding, NamesTheFirstDifference) {
  const OrderedJson binding = {{"version", "1"}, {"bits", 4}, {"skip", OrderedJson::array({"a"})}};
  EXPECT_NO_THROW(check_binding(binding, binding));
  const auto error_of = [&](const OrderedJson& found) -> std::string {
    try {
      check_binding(found, binding);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "";
  };
  OrderedJson other = binding;
  other["bits"] = 3;
  EXPECT_NE(error_of(other).find("bits 3, this one has 4"), std::string::npos) << error_of(other);
  other = binding;
  other.erase("skip");
  EXPECT_NE(error_of(other).find("skip none"), std::string::npos) << error_of(other);
}

}  // namespace
}  // namespace awq::quantize
