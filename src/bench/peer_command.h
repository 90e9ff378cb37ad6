#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace awq::bench {

/// Words of a command as a shell would split them: at blanks, with '...', "..." and backslashes. What only a shell can
/// do (pipes, redirections, several commands, variables) is refused unless it is quoted, for nothing here would do it.
/// Throws kInvalidArgument for that, for a quote without its end and for a command without words.
std::vector<std::string> split_command(std::string_view command);

/// What a command may take, so that none holds or fills this process for good.
struct CommandLimits {
  double seconds = 1800;
  std::size_t output_bytes = std::size_t{4} << 20;
};

/// Runs a program to its end, looked for as a shell looks for it, and returns what it wrote to its standard output. Its
/// input is empty, its environment ours without what this program set for itself, its processors all that we may use.
/// It and what it started end when it exceeds a limit, when a stop is requested or when it is done.
/// Throws kNotFound when it cannot be started, kUnsupported when it takes too long, kCorruptFile when it fails (with
/// the last line of its standard error) or writes too much.
std::string run_command(const std::vector<std::string>& words, const CommandLimits& limits);

}  // namespace awq::bench
