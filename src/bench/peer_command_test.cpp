#include "bench/peer_command.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "awq/error.h"
#include "base/resources.h"
#include "base/stop.h"
#include "support/temp_folder.h"

namespace awq::bench {
namespace {

using Words = std::vector<std::string>;

/// "code: message" of what `work` throws.
template <typename Work>
std::string error_of(ErrorCode code, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "expected an error";
  return "";
}

TEST(PeerCommand, WordsAreThoseOfAShell) {
  EXPECT_EQ(split_command("a  b\tc\n"), (Words{"a", "b", "c"}));
  EXPECT_EQ(split_command("a 'b c' \"d 'e'\" f\\ g"), (Words{"a", "b c", "d 'e'", "f g"}));
  EXPECT_EQ(split_command("a'b'\"c\" ''"), (Words{"abc", ""}));
  EXPECT_EQ(split_command(R"(a "\"\\\$\n" '$x|' \| \$y)"), (Words{"a", "\"\\$\\n", "$x|", "|", "$y"}));
  EXPECT_EQ(split_command("a {prompt} *.gguf ~"), (Words{"a", "{prompt}", "*.gguf", "~"}));
  EXPECT_EQ(split_command("a \xff"), (Words{"a", "\xff"}));
  EXPECT_EQ(split_command("a\\"), (Words{"a\\"}));
}

TEST(PeerCommand, WhatNeedsAShellIsRefused) {
  for (const char* command : {"a | b", "a > b", "a < b", "a; b", "a & b", "(a)", "a $b", "a \"$b\"", "a `b`"}) {
    const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { split_command(command); });
    EXPECT_NE(message.find("without a shell"), std::string::npos) << command << ": " << message;
  }
  for (const char* command : {"a 'b", "a \"b", "", "  ", "''", "'' a"}) {
    error_of(ErrorCode::kInvalidArgument, [&] { split_command(command); });
  }
}

TEST(PeerCommand, OutputComesBackAndInputIsEmpty) {
  EXPECT_EQ(run_command({"echo", "a  b", "$x"}, {}), "a  b $x\n");
  EXPECT_EQ(run_command({"cat"}, {}), "");
  EXPECT_EQ(run_command({"sh", "-c", "echo noise >&2; head -c 300000 /dev/zero | tr '\\0' x"}, {}),
            std::string(300000, 'x'));
}

TEST(PeerCommand, FailuresSayWhatHappened) {
  const auto message = [](ErrorCode code, const Words& words, const CommandLimits& limits = {}) {
    return error_of(code, [&] { run_command(words, limits); });
  };
  EXPECT_NE(message(ErrorCode::kNotFound, {"/no/such/program"}).find("cannot start \"/no/such/program\""),
            std::string::npos);
  const std::string failed =
      message(ErrorCode::kCorruptFile, {"sh", "-c", "echo one >&2; printf 'two\\033\\n\\n' >&2; exit 7"});
  EXPECT_NE(failed.find("ended with status 7: two\\x1b"), std::string::npos) << failed;
  EXPECT_NE(message(ErrorCode::kCorruptFile, {"sh", "-c", "kill -SEGV $$"}).find("ended by signal 11"),
            std::string::npos);
  const CommandLimits small{.seconds = 20, .output_bytes = 1000};
  EXPECT_NE(message(ErrorCode::kCorruptFile, {"yes"}, small).find("more than 1000 bytes"), std::string::npos);
}

TEST(PeerCommand, TimeEndsItAndWhatItStarted) {
  const test::TempFolder folder;
  const std::string file = (folder / "pid").string();
  const double begin = monotonic_seconds();
  // It closes its output, ignores requests to end, and has a child.
  const std::string script = "exec >&- 2>&-; trap '' TERM INT; sleep 1000 & echo $! > " + file + "; wait";
  const std::string message = error_of(ErrorCode::kUnsupported, [&] {
    run_command({"sh", "-c", script}, {.seconds = 3});
  });
  EXPECT_NE(message.find("did not end within 3 s"), std::string::npos) << message;
  EXPECT_LT(monotonic_seconds() - begin, 60);
  pid_t child = 0;
  std::ifstream(file) >> child;
  ASSERT_GT(child, 0);
  const auto runs = [&] {  // a dead process may wait for its parent's attention
    std::string name, state;
    pid_t number = 0;
    return static_cast<bool>(std::ifstream("/proc/" + std::to_string(child) + "/stat") >> number >> name >> state) &&
           state != "Z";
  };
  for (int i = 0; i < 1000 && runs(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(runs());
}

TEST(PeerCommand, AStopEndsIt) {
  stop_flag().request(SIGINT);
  const double begin = monotonic_seconds();
  error_of(ErrorCode::kInterrupted, [] { run_command({"sleep", "1000"}, {}); });
  stop_flag().clear();
  EXPECT_LT(monotonic_seconds() - begin, 60);
}

TEST(PeerCommand, OurOwnSettingsStayWithUs) {
  setenv("GOMP_SPINCOUNT", "123", 1);
  EXPECT_EQ(run_command({"sh", "-c", "echo $GOMP_SPINCOUNT"}, {}), "123\n");
  setenv("AWQ_SHORT_SPIN", "1", 1);
  EXPECT_EQ(run_command({"sh", "-c", "echo $GOMP_SPINCOUNT$AWQ_SHORT_SPIN"}, {}), "\n");
  unsetenv("AWQ_SHORT_SPIN");
  unsetenv("GOMP_SPINCOUNT");
}

}  // namespace
}  // namespace awq::bench
