#pragma once

#include "cli/command.h"

namespace awq::cli {

std::function<int()> add_quantize(CLI::App& app, CommonFlags& common);
std::function<int()> add_eval(CLI::App& app, CommonFlags& common);
std::function<int()> add_compare(CLI::App& app, CommonFlags& common);
std::function<int()> add_run(CLI::App& app, CommonFlags& common);
std::function<int()> add_serve(CLI::App& app, CommonFlags& common);
std::function<int()> add_bench(CLI::App& app, CommonFlags& common);
std::function<int()> add_bench_serve(CLI::App& app, CommonFlags& common);
std::function<int()> add_inspect(CLI::App& app, CommonFlags& common);

}  // namespace awq::cli
