// Storage that fails. Every system call of a whole quantization is made to fail in turn: there is an error and no
// crash, nothing incomplete carries the output's name, and a run with --resume ends with the bytes of an undisturbed
// one.

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <string>

#include "awq/error.h"
#include "file/system.h"
#include "support/tiny_quantize.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using test::TinyQuantize;

/// Counts the calls and makes some of them fail.
class FaultySystem : public test::UnsyncedSystem {
 public:
  enum class Mode {
    kOnce,       ///< one call fails
    kFromThere,  ///< that call and all that follow: a full or vanished disk
    kShort,      ///< a read or write transfers one byte
  };
  FaultySystem(std::int64_t at, Mode mode, int error) : at_(at), mode_(mode), error_(error) {}
  std::int64_t calls() const { return calls_; }

  int open(const char* path, int flags, unsigned mode) override {
    return fails() ? -1 : System::open(path, flags, mode);
  }
  int close(int fd) override {
    const bool failed = fails();
    System::close(fd);  // a close that fails has closed all the same
    return failed ? set_errno() : 0;
  }
  ssize_t pread(int fd, void* to, std::size_t bytes, std::int64_t offset) override {
    if (fails()) return -1;
    return System::pread(fd, to, shortened(bytes), offset);
  }
  ssize_t pwrite(int fd, const void* from, std::size_t bytes, std::int64_t offset) override {
    if (fails()) return -1;
    return System::pwrite(fd, from, shortened(bytes), offset);
  }
  int fsync(int fd) override { return fails() ? -1 : UnsyncedSystem::fsync(fd); }
  int fstat(int fd, struct stat* out) override { return fails() ? -1 : System::fstat(fd, out); }
  int allocate(int fd, std::int64_t bytes) override { return fails() ? -1 : System::allocate(fd, bytes); }
  int truncate(int fd, std::int64_t bytes) override { return fails() ? -1 : System::truncate(fd, bytes); }
  int rename(const char* from, const char* to) override { return fails() ? -1 : System::rename(from, to); }
  int exchange(const char* a, const char* b) override { return fails() ? -1 : System::exchange(a, b); }
  int mkdir(const char* path, unsigned mode) override { return fails() ? -1 : System::mkdir(path, mode); }
  int remove(const char* path) override { return fails() ? -1 : System::remove(path); }
  int lock(int fd) override { return fails() ? -1 : System::lock(fd); }

 private:
  int set_errno() const {
    errno = error_;
    return -1;
  }
  bool fails() {
    const std::int64_t call = calls_++;
    const bool now = mode_ == Mode::kOnce ? call == at_ : mode_ == Mode::kFromThere && call >= at_;
    if (now) set_errno();
    return now;
  }
  std::size_t shortened(std::size_t bytes) const { return mode_ == Mode::kShort && calls_ - 1 == at_ ? 1 : bytes; }

  std::atomic<std::int64_t> calls_{0};
  std::int64_t at_;
  Mode mode_;
  int error_;
};

class Faults : public testing::Test {
 protected:
  using Mode = FaultySystem::Mode;

  Faults() {
    FaultySystem counting(-1, Mode::kOnce, 0);
    const file::ScopedSystem scope(counting);
    const TinyQuantize tiny;
    quantize_model(options_of(tiny));
    expected_ = tiny.published();
    calls_ = counting.calls();
  }

  static QuantizeOptions options_of(const TinyQuantize& tiny) {
    QuantizeOptions options = tiny.options();
    options.max_shard_bytes = 30000;  // several files, and an index
    return options;
  }

  /// One run with the fault at call `at`; true when it failed.
  static bool run_with_fault(const QuantizeOptions& options, std::int64_t at, Mode mode, int error) {
    FaultySystem faulty(at, mode, error);
    const file::ScopedSystem scope(faulty);
    try {
      quantize_model(options);
      return false;
    } catch (const Error& caught) {
      const ErrorCode code = caught.code();
      // kIo for what is written; an input that cannot be read is an input error.
      EXPECT_TRUE(code == ErrorCode::kIo || code == ErrorCode::kNotFound || code == ErrorCode::kCorruptFile)
          << static_cast<int>(code) << ": " << caught.what();
      return true;
    }
  }

  static void resume(QuantizeOptions options) {
    test::UnsyncedSystem unsynced;
    const file::ScopedSystem scope(unsynced);
    options.resume = true;
    quantize_model(options);
  }

  void fail_every_call(Mode mode, int error, std::int64_t step) {
    std::int64_t failed = 0;
    for (std::int64_t at = 0; at < calls_; at += step) {
      SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(calls_));
      const TinyQuantize tiny;
      const QuantizeOptions options = options_of(tiny);
      const bool error_seen = run_with_fault(options, at, mode, error);
      failed += error_seen ? 1 : 0;
      // The name is given by one rename at the end: what carries it is complete, whatever failed afterwards.
      if (fs::exists(tiny.output())) {
        ASSERT_EQ(test::difference(tiny.published(), expected_), "");
      } else {
        ASSERT_TRUE(error_seen) << "no output and no error";
      }
      ASSERT_NO_THROW(resume(options));
      ASSERT_EQ(test::difference(tiny.published(), expected_), "");
      ASSERT_FALSE(fs::exists(tiny.staging()));
    }
    EXPECT_GT(failed, 0);
  }

  test::Files expected_;
  std::int64_t calls_ = 0;
};

TEST_F(Faults, EveryCallFailsOnceWithAFullDisk) { fail_every_call(Mode::kOnce, ENOSPC, 1); }

TEST_F(Faults, TheDiskVanishesAtEveryCall) { fail_every_call(Mode::kFromThere, EIO, 1); }

TEST_F(Faults, InterruptedCallsAreRepeatedOrReported) { fail_every_call(Mode::kOnce, EINTR, 3); }

TEST_F(Faults, ShortTransfersChangeNothing) {
  for (std::int64_t at = 0; at < calls_; at += 5) {
    const TinyQuantize tiny;
    EXPECT_FALSE(run_with_fault(options_of(tiny), at, Mode::kShort, 0));
    ASSERT_EQ(test::difference(tiny.published(), expected_), "") << at;
  }
}

// What awq made may be replaced by force: a manifest says so.
const std::string kOldManifest = R"({"files": {"config.json": {"sha256": ""}}})";

void make_old_output(const TinyQuantize& tiny) {
  fs::create_directory(tiny.output());
  test::write_bytes(tiny.output() / "awq_manifest.json", kOldManifest);
}

TEST_F(Faults, ReplacingAnOutputKeepsTheOldOneUntilTheEnd) {
  const TinyQuantize reference;
  std::int64_t calls = 0;
  {
    make_old_output(reference);
    FaultySystem counting(-1, Mode::kOnce, 0);
    const file::ScopedSystem scope(counting);
    QuantizeOptions options = options_of(reference);
    options.force = true;
    quantize_model(options);
    calls = counting.calls();
  }
  // The last calls are those of publishing.
  for (std::int64_t at = std::max<std::int64_t>(0, calls - 60); at < calls; ++at) {
    SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(calls));
    const TinyQuantize tiny;
    make_old_output(tiny);
    QuantizeOptions options = options_of(tiny);
    options.force = true;
    run_with_fault(options, at, Mode::kOnce, EIO);
    const auto found = tiny.published();
    const bool old = found == test::Files{{"awq_manifest.json", kOldManifest}};
    EXPECT_TRUE(old || found == expected_) << "neither the old output nor the new one";
    resume(options);
    EXPECT_EQ(test::difference(tiny.published(), expected_), "");
  }
}

}  // namespace
}  // namespace awq
