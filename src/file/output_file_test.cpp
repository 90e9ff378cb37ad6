#include "file/output_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "file/sha256.h"
#include "file/system.h"
#include "support/errors.h"

namespace awq::file {
namespace {

namespace fs = std::filesystem;
using test::error_of;

/// Real calls, except that call number `fail_at` (from 1; 0: none) fails with `error`. With `short_writes`, a write
/// stores at most three bytes; with `interrupt`, every second call that may be interrupted is.
class FaultySystem : public System {
 public:
  int fail_at = 0;
  int error = EIO;
  bool short_writes = false;
  bool interrupt = false;
  int calls = 0;
  std::vector<std::string> trace;

  int open(const char* path, int flags, unsigned mode) override {
    if (strikes("open") || interrupted()) return -1;
    const int fd = System::open(path, flags, mode);
    open_files += fd >= 0 ? 1 : 0;
    return fd;
  }
  int close(int fd) override {
    open_files -= 1;
    System::close(fd);
    return strikes("close") ? -1 : 0;
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, std::int64_t offset) override {
    if (strikes("pwrite") || interrupted()) return -1;
    return System::pwrite(fd, from, short_writes ? std::min<std::size_t>(bytes, 3) : bytes, offset);
  }
  int fsync(int fd) override { return strikes("fsync") ? -1 : System::fsync(fd); }
  int allocate(int fd, std::int64_t bytes) override {
    return strikes("allocate") || interrupted() ? -1 : System::allocate(fd, bytes);
  }
  int truncate(int fd, std::int64_t bytes) override {
    return strikes("truncate") || interrupted() ? -1 : System::truncate(fd, bytes);
  }
  int rename(const char* from, const char* to) override { return strikes("rename") ? -1 : System::rename(from, to); }
  int exchange(const char* a, const char* b) override { return strikes("exchange") ? -1 : System::exchange(a, b); }

  int open_files = 0;

 private:
  bool strikes(const char* name) {
    trace.emplace_back(name);
    if (++calls != fail_at) return false;
    errno = error;
    return true;
  }
  bool interrupted() {
    if (!interrupt || (turn_ = !turn_)) return false;
    errno = EINTR;
    return true;
  }
  bool turn_ = false;
};

class OutputFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "awq-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }

  static std::string content(const fs::path& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }
  static std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

  fs::path folder;
};

TEST_F(OutputFileTest, WritesAtomicallyInTheRightOrder) {
  FaultySystem faulty;
  const ScopedSystem scope(faulty);
  write_file_atomically(folder / "a.json", "content");
  EXPECT_EQ(content(folder / "a.json"), "content");
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(faulty.trace,
            (std::vector<std::string>{"open", "pwrite", "fsync", "close", "rename", "open", "fsync", "close"}));
  write_file_atomically(folder / "empty", "");
  EXPECT_EQ(fs::file_size(folder / "empty"), 0U);
}

TEST_F(OutputFileTest, ALinkUnderTheTemporaryNameIsNotFollowed) {
  write_file_atomically(folder / "other", "of somebody else");
  fs::create_symlink(folder / "other", folder / "a.json.tmp");
  write_file_atomically(folder / "a.json", "content");
  EXPECT_EQ(content(folder / "a.json"), "content");
  EXPECT_EQ(content(folder / "other"), "of somebody else");
  EXPECT_EQ(entries(), 2U);
}

// Whatever call fails: a kIo error that names the path, the old content or the new one, no temporary file, no open
// file.
TEST_F(OutputFileTest, EveryFailureLeavesTheFileWhole) {
  const fs::path path = folder / "a.json";
  for (const int error : {EIO, ENOSPC, EDQUOT}) {
    for (int fail_at = 1; fail_at <= 7; ++fail_at) {
      write_file_atomically(path, "old");
      FaultySystem faulty;
      faulty.fail_at = fail_at;
      faulty.error = error;
      const ScopedSystem scope(faulty);
      const std::string text = error_of(ErrorCode::kIo, [&] { write_file_atomically(path, "new content"); });
      EXPECT_NE(text.find(folder.string()), std::string::npos) << text;
      EXPECT_EQ(text.find("disk is full") != std::string::npos, error != EIO) << text;
      // The folder's sync comes after the rename: the new content is there, it may only not survive a power cut.
      EXPECT_EQ(content(path), fail_at <= 5 ? "old" : "new content") << "call " << fail_at;
      EXPECT_EQ(entries(), 1U) << "call " << fail_at;
      EXPECT_EQ(faulty.open_files, 0) << "call " << fail_at;
    }
  }
}

TEST_F(OutputFileTest, ShortWritesAndInterruptionsAreContinued) {
  FaultySystem faulty;
  faulty.short_writes = true;
  faulty.interrupt = true;
  const ScopedSystem scope(faulty);
  write_file_atomically(folder / "a", "a text longer than three bytes");
  EXPECT_EQ(content(folder / "a"), "a text longer than three bytes");
  OutputFile out(folder / "b", OutputFile::Mode::kCreate);
  out.allocate(10);
  out.truncate(5);
  out.write_at(1, bytes_of("abcd"));
  out.close();
  EXPECT_EQ(content(folder / "b"), std::string("\0abcd", 5));
}

TEST_F(OutputFileTest, InterruptedSyncIsNotRepeated) {
  FaultySystem faulty;
  faulty.fail_at = 2;
  faulty.error = EINTR;
  const ScopedSystem scope(faulty);
  OutputFile out(folder / "a", OutputFile::Mode::kCreate);
  const std::string text = error_of(ErrorCode::kIo, [&] { out.sync(); });
  EXPECT_NE(text.find("cannot sync"), std::string::npos);
  EXPECT_EQ(faulty.trace, (std::vector<std::string>{"open", "fsync"}));
}

TEST_F(OutputFileTest, AWriteThatMakesNoProgressIsAnError) {
  struct Stuck : System {
    ssize_t pwrite(int, const void*, std::size_t, std::int64_t) override { return 0; }
  } stuck;
  const ScopedSystem scope(stuck);
  error_of(ErrorCode::kIo, [&] { write_file_atomically(folder / "a", "x"); });
  EXPECT_EQ(entries(), 0U);
}

TEST_F(OutputFileTest, UpdateKeepsContentAndNeedsTheFile) {
  const fs::path path = folder / "a";
  write_file_atomically(path, "0123456789");
  OutputFile out(path, OutputFile::Mode::kUpdate);
  out.write_at(3, bytes_of("xy"));
  out.sync();
  out.close();
  EXPECT_EQ(content(path), "012xy56789");
  const std::string text = error_of(ErrorCode::kIo, [&] { OutputFile(folder / "none", OutputFile::Mode::kUpdate); });
  EXPECT_NE(text.find("none"), std::string::npos);
}

TEST_F(OutputFileTest, OffsetsPastTheLargestFileAreRefused) {
  OutputFile out(folder / "a", OutputFile::Mode::kCreate);
  error_of(ErrorCode::kIo, [&] { out.write_at(~std::uint64_t{0} - 1, bytes_of("abc")); });
  error_of(ErrorCode::kIo, [&] { out.allocate(~std::uint64_t{0}); });
  error_of(ErrorCode::kIo, [&] { out.truncate(~std::uint64_t{0}); });
}

TEST_F(OutputFileTest, MovedFilesCloseOnce) {
  FaultySystem faulty;
  const ScopedSystem scope(faulty);
  {
    OutputFile a(folder / "a", OutputFile::Mode::kCreate);
    OutputFile b(std::move(a));
    OutputFile c(folder / "c", OutputFile::Mode::kCreate);
    c = std::move(b);
    c.write_at(0, bytes_of("moved"));
  }
  EXPECT_EQ(faulty.open_files, 0);
  EXPECT_EQ(content(folder / "a"), "moved");
}

TEST_F(OutputFileTest, AFailedCloseIsReportedAndNotRepeated) {
  FaultySystem faulty;
  faulty.fail_at = 2;
  const ScopedSystem scope(faulty);
  {
    OutputFile out(folder / "a", OutputFile::Mode::kCreate);
    error_of(ErrorCode::kIo, [&] { out.close(); });
  }
  EXPECT_EQ(faulty.calls, 2);
}

TEST_F(OutputFileTest, ExchangeWithAndWithoutHelpOfTheFileSystem) {
  for (const int error : {0, EINVAL}) {
    write_file_atomically(folder / "a", "A");
    write_file_atomically(folder / "b", "B");
    FaultySystem faulty;
    faulty.fail_at = error == 0 ? 0 : 1;
    faulty.error = error;
    const ScopedSystem scope(faulty);
    exchange_paths(folder / "a", folder / "b");
    EXPECT_EQ(content(folder / "a"), "B");
    EXPECT_EQ(content(folder / "b"), "A");
    EXPECT_EQ(entries(), 2U);
  }
  error_of(ErrorCode::kIo, [&] { exchange_paths(folder / "a", folder / "missing"); });
  EXPECT_EQ(content(folder / "a"), "B");
}

TEST_F(OutputFileTest, FoldersAreMadeAndRemoved) {
  make_folder(folder / "x");
  make_folder(folder / "x");
  make_folder(folder / "x" / "y");
  write_file_atomically(folder / "x" / "y" / "file", "1");
  write_file_atomically(folder / "outside", "kept");
  fs::create_symlink(folder, folder / "x" / "link");
  remove_tree(folder / "x");
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(content(folder / "outside"), "kept");
  remove_tree(folder / "x");  // missing already
  error_of(ErrorCode::kIo, [&] { make_folder(folder / "outside"); });
  error_of(ErrorCode::kIo, [&] { make_folder(folder / "no" / "parent"); });
  error_of(ErrorCode::kIo, [&] { sync_folder(folder / "none"); });
}

TEST_F(OutputFileTest, CopyKeepsBytesAndRefusesItself) {
  const std::string large(9'000'001, 'x');
  write_file_atomically(folder / "a", large);
  file::copy_file(folder / "a", folder / "b");
  EXPECT_EQ(sha256_file(folder / "a"), sha256_file(folder / "b"));
  EXPECT_EQ(sha256_file(folder / "a"), sha256_hex(large));
  error_of(ErrorCode::kInvalidArgument, [&] { file::copy_file(folder / "a", folder / "a"); });
  EXPECT_EQ(fs::file_size(folder / "a"), large.size());
  error_of(ErrorCode::kNotFound, [&] { file::copy_file(folder / "none", folder / "c"); });

  FaultySystem faulty;
  faulty.fail_at = 3;  // open, open, first write
  faulty.error = ENOSPC;
  const ScopedSystem scope(faulty);
  const std::string text = error_of(ErrorCode::kIo, [&] { file::copy_file(folder / "a", folder / "c"); });
  EXPECT_NE(text.find("disk is full"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(folder / "c"));
}

TEST_F(OutputFileTest, OnlyOneHolderOfALock) {
  const fs::path path = folder / "lock";
  {
    const FileLock first(path);
    const std::string text = error_of(ErrorCode::kInvalidArgument, [&] { const FileLock second(path); });
    EXPECT_NE(text.find("another process"), std::string::npos);
    fs::remove(path);
    const FileLock other_file(path);  // the name leads to a new file now
  }
  const FileLock again(path);
  error_of(ErrorCode::kIo, [&] { const FileLock bad(folder / "no" / "lock"); });
}

TEST_F(OutputFileTest, ALockThatCannotBeTakenIsAnIoError) {
  struct NoLocks : System {
    int lock(int) override {
      errno = ENOLCK;
      return -1;
    }
  } broken;
  const ScopedSystem scope(broken);
  error_of(ErrorCode::kIo, [&] { const FileLock lock(folder / "lock"); });
}

}  // namespace
}  // namespace awq::file
