#include "cli/chat_loop.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "awq/chat.h"
#include "awq/runtime.h"
#include "base/check.h"
#include "base/stop.h"
#include "cli/terminal.h"
#include "file/json.h"

namespace awq::cli {
namespace {

constexpr int kPollMilliseconds = 50;
constexpr std::size_t kMaxLineBytes = 1 << 20;
constexpr const char* kHelp =
    "/reset forgets the conversation, /system TEXT sets the system message (nothing: none), /exit or Ctrl-D ends, "
    "Ctrl-C stops an answer";

/// Lines of standard input. poll() first, because a read that is waiting would not notice a signal.
class LineReader {
 public:
  enum class Result { kLine, kEnd, kSignal };

  Result next(std::string& line) {
    while (true) {
      if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        line = buffer_.substr(0, end);
        if (line.ends_with('\r')) line.pop_back();
        buffer_.erase(0, end + 1);
        return Result::kLine;
      }
      if (ended_) {
        line = std::exchange(buffer_, {});
        return line.empty() ? Result::kEnd : Result::kLine;
      }
      if (buffer_.size() > kMaxLineBytes) {
        fail(ErrorCode::kCorruptFile, "standard input: expected lines of at most {} bytes", kMaxLineBytes);
      }
      pollfd wanted{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
      if (poll(&wanted, 1, kPollMilliseconds) < 0 && errno != EINTR) ended_ = true;
      if (requested_stop() != 0) return Result::kSignal;
      if (wanted.revents == 0) continue;
      std::array<char, 65536> piece;
      const ssize_t got = read(STDIN_FILENO, piece.data(), piece.size());
      if (got < 0 && errno != EINTR)
        fail(ErrorCode::kNotFound, "standard input: cannot read: {}", std::strerror(errno));
      if (got == 0) ended_ = true;
      if (got > 0) buffer_.append(piece.data(), static_cast<std::size_t>(got));
    }
  }

 private:
  std::string buffer_;
  bool ended_ = false;
};

class ChatLoop {
 public:
  ChatLoop(ChatSession& session, bool json) : session_(session), json_(json), terminal_(isatty(STDIN_FILENO) == 1) {}

  void run() {
    if (terminal_ && !json_) print_note(kHelp);
    std::string line;
    while (true) {
      if (terminal_ && !json_) {
        fmt::print("> ");
        std::fflush(stdout);
      }
      const LineReader::Result result = reader_.next(line);
      if (result == LineReader::Result::kEnd) return;
      if (result == LineReader::Result::kSignal) {
        keep_or_leave();
        print_note("\n(/exit or Ctrl-D ends)");
        continue;
      }
      const std::size_t begin = line.find_first_not_of(" \t");
      if (begin == std::string::npos) continue;
      if (line[begin] == '/') {
        if (!command(std::string_view(line).substr(begin))) return;
      } else {
        answer(line);
      }
    }
  }

  std::int64_t turns() const { return turns_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t prompt_tokens() const { return prompt_tokens_; }
  std::int64_t cached_tokens() const { return cached_tokens_; }

 private:
  /// An interrupt is dealt with here; anything else that asks for a stop ends the program.
  static void keep_or_leave() {
    if (requested_stop() != SIGINT) stop_flag().throw_if_requested();
    clear_stop();
  }

  /// False: leave.
  bool command(std::string_view line) {
    const std::string_view name = line.substr(0, line.find_first_of(" \t"));
    std::string_view rest = line.substr(name.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    if (name == "/exit" || name == "/quit" || name == "/bye") return false;
    if (name == "/reset") {
      session_.reset();
      print_note("(the conversation is forgotten)");
    } else if (name == "/system") {
      session_.set_system(std::string(rest));
      print_note(rest.empty() ? "(no system message)" : "(the system message is set)");
    } else {
      print_note(name == "/help" ? std::string(kHelp) : fmt::format("unknown command {}; {}", printable(name), kHelp));
    }
    return true;
  }

  void answer(const std::string& message) {
    try {
      const GenerateSummary summary = session_.say(message);
      ++turns_;
      tokens_ += summary.completion_tokens;
      prompt_tokens_ += summary.prompt_tokens;
      cached_tokens_ += summary.cached_tokens;
      if (!json_) fmt::print("\n");
      if (summary.finish_reason == "interrupted") {
        keep_or_leave();
        print_note("(stopped)");
      } else if (summary.finish_reason == "length") {
        print_note("(cut off: -n or the context is full)");
      }
      if (terminal_ && !json_) {
        print_note(fmt::format("[{} prompt tokens, {} of them kept, the others at {:.1f}/s, {} new tokens at {:.1f}/s]",
                               summary.prompt_tokens, summary.cached_tokens, summary.prefill_tokens_per_s,
                               summary.completion_tokens, summary.decode_tokens_per_s));
      }
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted) {
        keep_or_leave();
        print_note("(stopped before the answer began)");
      } else if (error.code() == ErrorCode::kInvalidArgument) {
        // The message does not fit the template or the context; the conversation goes on without it.
        print_note(fmt::format("awq: {} (/reset begins anew)", error.what()));
      } else {
        throw;
      }
    }
    std::fflush(stdout);
  }

  ChatSession& session_;
  bool json_;
  bool terminal_;
  LineReader reader_;
  std::int64_t turns_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t prompt_tokens_ = 0;
  std::int64_t cached_tokens_ = 0;
};

}  // namespace

int chat_loop(const GenerateOptions& options, const std::string& system, const CommonFlags& common) {
  GenerateOptions streamed = options;
  if (!common.json) {
    streamed.on_text = [](const std::string& piece) {
      fmt::print("{}", piece);
      std::fflush(stdout);
    };
  }
  ChatSession session(streamed, system);
  ChatLoop loop(session, common.json);
  loop.run();
  if (common.json) {
    file::OrderedJson out;
    out["messages"] = file::parse_json<file::OrderedJson>(session.history(), "history");
    out["turns"] = loop.turns();
    out["prompt_tokens"] = loop.prompt_tokens();
    out["cached_tokens"] = loop.cached_tokens();
    out["completion_tokens"] = loop.tokens();
    print_json(out);
  }
  return 0;
}

}  // namespace awq::cli
