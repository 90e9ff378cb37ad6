// The staging folder belongs to the run that holds its lock: whatever happens to its name, no run touches the folder of
// another.

#include "quantize/staging.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

#include "file/system.h"
#include "support/checkpoints.h"
#include "support/errors.h"
#include "support/temp_folder.h"

namespace awq::quantize {
namespace {

namespace fs = std::filesystem;

/// Real calls; `before` hears of each path that is opened or removed.
class WatchedSystem : public file::System {
 public:
  std::function<void(const std::string& call, const fs::path& path)> before;

  int open(const char* path, int flags, unsigned mode) override {
    if (before) before("open", path);
    return System::open(path, flags, mode);
  }
  int remove(const char* path) override {
    const int result = System::remove(path);
    const int code = errno;
    if (before) before("removed", path);
    errno = code;
    return result;
  }
};

class StagingTest : public testing::Test {
 protected:
  /// What a run has after its first layer.
  static void fill(Staging& staging, const std::string& whose) {
    staging.clear();
    test::write_bytes(staging.model() / "model.safetensors", whose);
    test::write_bytes(staging.journal(), whose);
    test::write_bytes(staging.hidden(0), whose);
  }
  void expect_untouched(const Staging& staging, const std::string& whose) {
    for (const fs::path& path : {staging.model() / "model.safetensors", staging.journal(), staging.hidden(0)}) {
      ASSERT_TRUE(fs::exists(path)) << path;
      EXPECT_EQ(test::read_bytes(path), whose) << path;
    }
    test::error_of(ErrorCode::kInvalidArgument, [&] { const Staging third(output_, true); });
  }

  test::TempFolder folder_;
  fs::path output_ = folder_ / "out";
};

// The folder of a failed run was moved away, and another run works under its name.
TEST_F(StagingTest, AFailedRunLeavesTheFolderOfAnother) {
  Staging failed(output_, false);
  fill(failed, "failed");
  fs::rename(failed.folder(), folder_ / "moved");
  Staging other(output_, false);
  fill(other, "other");
  failed.discard();
  expect_untouched(other, "other");
  EXPECT_FALSE(failed.holds_finished_layers()) << "they are those of another run";
}

TEST_F(StagingTest, ARunNeitherClearsNorPublishesTheFolderOfAnother) {
  Staging lost(output_, false);
  fill(lost, "lost");
  fs::rename(lost.folder(), folder_ / "moved");
  Staging other(output_, false);
  fill(other, "other");
  test::error_of(ErrorCode::kIo, [&] { lost.clear(); });
  test::error_of(ErrorCode::kIo, [&] { lost.publish(); });
  EXPECT_FALSE(fs::exists(output_));
  expect_untouched(other, "other");
  other.publish();
  EXPECT_EQ(test::read_bytes(output_ / "model.safetensors"), "other");
}

// Once the lock's name is gone another run may come in: nothing of it may be swept away with the rest.
TEST_F(StagingTest, ARunMayStartWhileAnotherCleansUp) {
  for (const bool published : {true, false}) {
    SCOPED_TRACE(published ? "publish" : "discard");
    fs::remove_all(output_);
    std::optional<Staging> other;
    WatchedSystem watched;
    const file::ScopedSystem scope(watched);
    Staging first(output_, false);
    fill(first, "first");
    watched.before = [&](const std::string& call, const fs::path& path) {
      if (call != "removed" || path != first.folder() / "lock" || other) return;
      fs::remove_all(output_);
      other.emplace(output_, false);
      fill(*other, "other");
    };
    if (published) {
      first.publish();
    } else {
      first.discard();
    }
    ASSERT_TRUE(other) << "the lock went with the folder";
    expect_untouched(*other, "other");
    other->discard();
  }
}

TEST_F(StagingTest, AFolderThatGoesAwayIsMadeAgain) {
  WatchedSystem watched;
  const file::ScopedSystem scope(watched);
  int removals = 0;
  watched.before = [&](const std::string& call, const fs::path& path) {
    if (call == "open" && path.filename() == "lock" && removals++ == 0) fs::remove_all(path.parent_path());
  };
  Staging staging(output_, false);
  fill(staging, "this");
  EXPECT_GT(removals, 1);
  expect_untouched(staging, "this");
}

TEST_F(StagingTest, NothingElseInTheFolderIsRemoved) {
  for (const bool published : {true, false}) {
    Staging staging(output_, false);
    fill(staging, "this");
    test::write_bytes(staging.folder() / "notes.txt", "precious");
    if (published) {
      staging.publish();
    } else {
      staging.discard();
    }
    EXPECT_EQ(std::distance(fs::directory_iterator(staging.folder()), fs::directory_iterator()), 1);
    EXPECT_EQ(test::read_bytes(staging.folder() / "notes.txt"), "precious");
    fs::remove_all(output_);
  }
}

}  // namespace
}  // namespace awq::quantize
