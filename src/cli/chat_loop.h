#pragma once

#include <string>

#include "awq/generator.h"
#include "cli/command.h"

namespace awq::cli {

/// `awq run --chat`: lines of standard input are messages, answers go to standard output as they come. /reset, /system
/// TEXT, /help and /exit are commands. SIGINT ends an answer, not the program; the end of input ends it.
int chat_loop(const GenerateOptions& options, const std::string& system, const CommonFlags& common);

}  // namespace awq::cli
