#include "cli/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/check.h"
#include "base/resources.h"

namespace awq::cli {
namespace {

constexpr int kBarWidth = 28;

std::string time_text(double seconds) {
  const auto whole = static_cast<long>(std::lround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

}  // namespace

ProgressPrinter::ProgressPrinter() : terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressPrinter::~ProgressPrinter() { clear(); }

void ProgressPrinter::clear() {
  if (drawn_) std::fputs("\n", stderr);
  drawn_ = false;
}

void ProgressPrinter::show(const Progress& p) {
  const double share = p.total > 0 ? static_cast<double>(p.done) / static_cast<double>(p.total) : 0;
  std::string tail = fmt::format("{}/{}", p.done, p.total);
  if (p.seconds_left > 0.5) tail += "  " + time_text(p.seconds_left) + " left";
  if (!p.detail.empty()) tail += "  " + p.detail;
  if (terminal_) {
    if (drawn_ && p.stage != last_stage_) clear();
    const int filled = static_cast<int>(share * kBarWidth);
    const std::string bar = std::string(static_cast<std::size_t>(filled), '#') +
                            std::string(static_cast<std::size_t>(kBarWidth - filled), '.');
    fmt::print(stderr, "\r\x1b[K{:<9}[{}] {}", p.stage, bar, tail);
    std::fflush(stderr);
    drawn_ = true;
  } else {
    // A log does not need more than a line per second.
    const double now = monotonic_seconds();
    if (p.stage == last_stage_ && p.done != p.total && now - last_time_ < 1.0) return;
    last_time_ = now;
    fmt::print(stderr, "{} {}\n", p.stage, tail);
  }
  last_stage_ = p.stage;
}

void print_note(const std::string& text) { fmt::print(stderr, "{}\n", text); }
void print_warning(const std::string& text) { fmt::print(stderr, "warning: {}\n", text); }

void print_json(const file::OrderedJson& object) {
  // Text that was cut in the middle of a character must not make the whole object unprintable.
  const std::string text = object.dump(2, ' ', false, file::OrderedJson::error_handler_t::replace);
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

void check_report_path(const std::filesystem::path& path) {
  if (path.empty()) return;
  const std::filesystem::path folder = std::filesystem::absolute(path).parent_path();
  // The page takes the name by a rename, which would put a file in the place of a device or a link to one.
  const bool usable = !std::filesystem::exists(path) || std::filesystem::is_regular_file(path);
  if (std::filesystem::is_directory(folder) && usable) return;
  fail(ErrorCode::kInvalidArgument, "--report {}: expected a file in a folder that exists", path.string());
}

std::string size_text(std::uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes < 1'000'000) return fmt::format("{:.1f} kB", value / 1e3);
  if (bytes < 1'000'000'000) return fmt::format("{:.1f} MB", value / 1e6);
  return fmt::format("{:.2f} GB", value / 1e9);
}

}  // namespace awq::cli
