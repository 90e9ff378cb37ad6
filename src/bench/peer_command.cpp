#include "bench/peer_command.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/places.h"
#include "base/resources.h"
#include "base/stop.h"

namespace awq::bench {
namespace {

constexpr std::size_t kKeptError = 4096;  // bytes of standard error, the last ones
constexpr int kPollMs = 50;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

[[noreturn]] void refuse_shell(char c) {
  fail(ErrorCode::kInvalidArgument,
       "--against: the command runs without a shell, which \"{}\" needs: quote it, or write sh -c '...'", c);
}

/// A pipe's two ends, closed with it and not inherited.
struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail(ErrorCode::kDevice, "cannot make a pipe: {}", std::strerror(errno));
    read = ends[0];
    write = ends[1];
    fcntl(read, F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  void close_read() {
    if (read >= 0) close(std::exchange(read, -1));
  }
  void close_write() {
    if (write >= 0) close(std::exchange(write, -1));
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
};

/// Adds what can be read now to `to`; false at the end.
bool drain(int fd, std::string& to, std::size_t most) {
  std::array<char, 65536> part;
  while (to.size() <= most) {
    const ssize_t got = read(fd, part.data(), part.size());
    if (got > 0) {
      to.append(part.data(), static_cast<std::size_t>(got));
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      return false;
    } else if (errno == EAGAIN) {
      return true;
    }
  }
  return true;
}

/// A running program in a process group of its own, which ends with this object.
class Child {
 public:
  Child(const std::vector<std::string>& words, int out, int error) {
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    std::vector<char*> environment;
    // main() sets both of them together, for itself.
    const bool own_spin = std::getenv("AWQ_SHORT_SPIN") != nullptr;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view text = *entry;
      if (own_spin && (text.starts_with("GOMP_SPINCOUNT=") || text.starts_with("AWQ_SHORT_SPIN="))) continue;
      environment.push_back(*entry);
    }
    environment.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, error, STDERR_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    cpu_set_t mask;  // bound to a place, this thread would hand its one processor on
    const bool known = sched_getaffinity(0, sizeof(mask), &mask) == 0;
    leave_place();
    const int status =
        posix_spawnp(&pid_, arguments.front(), &actions, &attributes, arguments.data(), environment.data());
    if (known) sched_setaffinity(0, sizeof(mask), &mask);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0) {
      pid_ = -1;
      fail(ErrorCode::kNotFound, "--against: cannot start \"{}\": {}", printable(words.front()), std::strerror(status));
    }
  }
  ~Child() {
    if (pid_ > 0) finish();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool has_ended() const {
    siginfo_t info{};
    return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
  }
  /// Ends whatever of the group still runs; the status of the program as waitpid() gives it.
  int finish() {
    kill(-pid_, SIGKILL);  // before its number is free for others
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

/// The last line that says something.
std::string last_line(std::string_view text) {
  while (!text.empty() && (is_blank(text.back()) || text.back() == '\r')) text.remove_suffix(1);
  const std::size_t begin = text.rfind('\n');
  return printable(begin == std::string_view::npos ? text : text.substr(begin + 1), 300);
}

[[noreturn]] void fail_with(int status, const std::string& program, const std::string& error) {
  const std::string how = WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                                              : fmt::format("ended with status {}", WEXITSTATUS(status));
  const std::string said = last_line(error);
  fail(ErrorCode::kCorruptFile, "--against: \"{}\" {}{}{}", printable(program), how, said.empty() ? "" : ": ", said);
}

}  // namespace

std::vector<std::string> split_command(std::string_view command) {
  std::vector<std::string> words;
  bool in_word = false;
  char quote = 0;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (quote == 0 && is_blank(c)) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    std::string& word = words.back();
    const bool more = i + 1 < command.size();
    if (quote == '\'') {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '\\' && more && (quote == 0 || std::strchr("\"\\$`", command[i + 1]) != nullptr)) {
      word += command[++i];
    } else if (quote == '"' && c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    } else if (c == '$' || c == '`' || (quote == 0 && std::strchr("|&;<>()", c) != nullptr)) {
      refuse_shell(c);
    } else {
      word += c;
    }
  }
  if (quote != 0) fail(ErrorCode::kInvalidArgument, "--against: a quote ({}) has no end", quote);
  if (words.empty() || words.front().empty()) {
    fail(ErrorCode::kInvalidArgument, "--against: the command names no program");
  }
  return words;
}

std::string run_command(const std::vector<std::string>& words, const CommandLimits& limits) {
  AWQ_CHECK(!words.empty());
  Pipe out, error;
  Child child(words, out.write, error.write);
  out.close_write();
  error.close_write();
  std::string text, said;
  const double end = monotonic_seconds() + limits.seconds;
  for (bool ended = false; !ended;) {
    stop_flag().throw_if_requested();
    if (monotonic_seconds() > end) {
      fail(ErrorCode::kUnsupported, "--against: \"{}\" did not end within {} s", printable(words.front()),
           limits.seconds);
    }
    ended = child.has_ended();  // what it wrote before that is in the pipes now
    pollfd waiting[] = {{out.read, POLLIN, 0}, {error.read, POLLIN, 0}};
    poll(waiting, 2, ended ? 0 : kPollMs);
    if (out.read >= 0 && !drain(out.read, text, limits.output_bytes)) out.close_read();
    if (text.size() > limits.output_bytes) {
      fail(ErrorCode::kCorruptFile, "--against: \"{}\" wrote more than {} bytes", printable(words.front()),
           limits.output_bytes);
    }
    if (error.read >= 0 && !drain(error.read, said, std::size_t{16} * kKeptError)) error.close_read();
    if (said.size() > kKeptError) said.erase(0, said.size() - kKeptError);
  }
  if (const int status = child.finish(); status != 0) fail_with(status, words.front(), said);
  return text;
}

}  // namespace awq::bench
