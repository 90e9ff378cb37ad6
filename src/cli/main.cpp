#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "awq/awq.h"
#include "base/places.h"
#include "cli/command.h"
#include "cli/exit_status.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

/// A signal asks for a stop at a safe point; another one, while that request stands, ends the process at once. A thread
/// of its own waits for them, and all others block them: oneDNN's f32 kernels point the stack pointer into a heap
/// buffer, and a handler that interrupted one would overwrite the heap there. To be called before there are other
/// threads.
void handle_signals() {
  sigset_t stopping;
  sigemptyset(&stopping);
  sigaddset(&stopping, SIGINT);
  sigaddset(&stopping, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stopping, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  std::thread([stopping] {
    int number = 0;
    while (sigwait(&stopping, &number) != 0 || requested_stop() == 0) request_stop(number);
    std::signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &stopping, nullptr);
    raise(number);
  }).detach();
}

/// A stream that the caller closed would lend its number to the first file that is opened, and text meant for the
/// terminal would go into a checkpoint. Such a stream is made to fail instead.
void occupy_closed_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/// The exit status after everything was printed: a full disk under standard output is a failure too.
int finish_output(int status) {
  std::cout.flush();
  const bool flushed = std::fflush(stdout) == 0;
  const char* reason = flushed ? "an earlier write failed" : std::strerror(errno);
  if (flushed && std::ferror(stdout) == 0 && std::cout.good()) return status;
  if (status != 0) return status;
  fmt::print(stderr, "awq: standard output: cannot write: {}\n", reason);
  return 4;
}

/// A prompt may be, and so may a system message; the others say themselves what they expect.
bool may_be_empty(const CLI::Option& option) {
  const std::string name = option.get_name();
  return option.get_positional() || name == "--prompt" || name == "--system" || name == "--stop" || name == "--output";
}

/// For commands that have no other device.
void require_cpu(const std::string& device) {
  if (device == "cpu" || device == "auto") return;
  if (device == "cuda" || device.starts_with("cuda:"))
    throw Error(ErrorCode::kDevice, "--device " + device + ": this command runs on the processor only");
  throw Error(ErrorCode::kInvalidArgument, "--device " + device + ": expected cpu, cuda, cuda:N or auto");
}

int run_guarded(const std::function<int()>& work, const CommonFlags& common) {
  try {
    if (!common.isa.empty()) set_instruction_set(common.isa);
    if (const std::string warning = processor_warning(); !warning.empty()) print_warning(warning);
    return work();
  } catch (const Error& error) {
    fmt::print(stderr, "awq: {}\n", error.what());
    return exit_status(error.code(), error.signal());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "awq: out of memory\n");
    return 5;
  } catch (const std::system_error& error) {
    // Our own files report their errors themselves; what is left are standard output and odd paths.
    if (std::ferror(stdout) != 0) return finish_output(0);
    fmt::print(stderr, "awq: {}\n", error.what());
    return error.code() == std::errc::resource_unavailable_try_again ? 5 : 4;
  } catch (const std::exception& error) {
    fmt::print(stderr, "awq: internal error: {}\n", error.what());
    return 1;
  }
}

/// Prints what is wrong with the command line, or the help that was asked for.
int finish_parsing(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return finish_output(app.exit(error));
  std::string command = "awq";
  for (const CLI::App* sub : app.get_subcommands()) command += " " + sub->get_name();
  std::string message = error.what();
  if (app.get_subcommands().empty()) {
    const std::vector<std::string> unknown = app.remaining();
    message = unknown.empty() ? "expected a command" : "unknown command or flag \"" + unknown.front() + "\"";
  }
  fmt::print(stderr, "awq: {} ({} --help shows what there is)\n", message, command);
  return 2;
}

/// Threads that wait for each other spin for milliseconds by default. On a machine that does other work too, a spinning
/// thread takes the processor from the one it waits for, and everything becomes several times slower
/// (docs/benchmarks.md). The OpenMP runtime reads its settings before main(), so the program starts itself once more
/// with a short spin, unless the user has set one.
void shorten_spin(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "2000", 1);
  setenv("AWQ_SHORT_SPIN", "1", 1);  // other programs that are started get neither
  leave_place();  // the program that follows finds its places among the processors that this thread may use
  execv("/proc/self/exe", argv);  // comes back only on failure: then the default stays
}

int main_program(int argc, char** argv) {
  CLI::App app("awq: quantize, measure and run language models with AWQ", "awq");
  app.set_version_flag("--version", std::string("awq.cpp ") + kVersion);
  app.require_subcommand(1);
  CommonFlags common;
  std::function<int()> work;
  for (const Command& command : commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->add_flag("--json", common.json, "Print one JSON object on standard output");
    sub->add_option("--threads", common.threads, "Threads (0: all that the process may use)")->capture_default_str();
    sub->add_option("--device", common.device, "cpu, cuda[:i] or auto")->capture_default_str();
    sub->add_option("--isa", common.isa, "Largest instruction set: scalar, avx2, avx512, avx512vnni, amx");
    const std::function<int()> run = command.add(*sub, common);
    for (CLI::Option* option : sub->get_options()) {
      if (option->get_type_name().find("INT") != std::string::npos) option->check(refuse_overflow);
      if (option->get_type_name().find("TEXT") != std::string::npos && !may_be_empty(*option)) {
        option->check(refuse_empty, "");
      }
    }
    sub->callback([&work, &common, run, on_device = command.on_device] {
      work = [&common, run, on_device] {
        if (!on_device) require_cpu(common.device);
        return run();
      };
    });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return finish_parsing(app, error);
  }
  handle_signals();
  return finish_output(run_guarded(work, common));
}

}  // namespace
}  // namespace awq::cli

int main(int argc, char** argv) {
  try {
    awq::cli::shorten_spin(argv);
    awq::cli::occupy_closed_streams();
    return awq::cli::main_program(argc, argv);
  } catch (const std::system_error& error) {
    std::fprintf(stderr, "awq: cannot start a thread: %s\n", error.what());
    return 5;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "awq: internal error: %s\n", error.what());
    return 1;
  }
}
