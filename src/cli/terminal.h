#pragma once

#include <filesystem>
#include <string>

#include "awq/quantizer.h"
#include "file/json.h"

namespace awq::cli {

/// A progress bar on a terminal, a plain line per step elsewhere; always on standard error.
class ProgressPrinter {
 public:
  ProgressPrinter();
  ~ProgressPrinter();
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;
  void show(const Progress& progress);
  /// Ends the bar's line, so that other text can follow.
  void clear();

 private:
  bool terminal_;
  bool drawn_ = false;
  std::string last_stage_;
  double last_time_ = 0;
};

/// A line on standard error.
void print_note(const std::string& text);
void print_warning(const std::string& text);
/// One JSON object on standard output.
void print_json(const file::OrderedJson& object);
/// Throws kInvalidArgument when `path` (may be empty) is in no folder that is there: minutes of work should not end so.
void check_report_path(const std::filesystem::path& path);
/// "1.23 GB", decimal.
std::string size_text(std::uint64_t bytes);

}  // namespace awq::cli
