#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "awq/awq.h"
#include "cli/command.h"
#include "cli/exit_status.h"

namespace awq::cli {
namespace {

/// The first signal asks for a stop at a safe point, the second ends the process at once.
extern "C" void on_signal(int number) {
  request_stop(number);
  std::signal(number, SIG_DFL);
}

void install_signal_handlers() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGPIPE, SIG_DFL);
}

void check_device(const std::string& device) {
  if (device == "cpu" || device == "auto") return;
  if (device.starts_with("cuda"))
    throw Error(ErrorCode::kDevice, "--device " + device + ": this build has no CUDA support");
  throw Error(ErrorCode::kInvalidArgument, "--device " + device + ": expected cpu, cuda, cuda:N or auto");
}

int run_guarded(const std::function<int()>& work, const CommonFlags& common) {
  try {
    check_device(common.device);
    if (!common.isa.empty()) set_instruction_set(common.isa);
    return work();
  } catch (const Error& error) {
    fmt::print(stderr, "awq: {}\n", error.what());
    return exit_status(error.code(), error.signal());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "awq: out of memory\n");
    return 5;
  } catch (const std::exception& error) {
    fmt::print(stderr, "awq: internal error: {}\n", error.what());
    return 1;
  }
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
    sub->callback([&work, run] { work = run; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  install_signal_handlers();
  const int status = run_guarded(work, common);
  // A full disk under standard output is a failure too.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return status == 0 ? 4 : status;
  return status;
}

}  // namespace
}  // namespace awq::cli

int main(int argc, char** argv) {
  try {
    return awq::cli::main_program(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "awq: internal error: %s\n", error.what());
    return 1;
  }
}
