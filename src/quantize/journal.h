#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "file/json.h"
#include "file/output_file.h"

namespace awq::quantize {

/// The record of an interrupted run: one line per finished unit of work, each with a checksum and synced before the
/// next unit starts. The first line holds what the run depends on; a torn last line is dropped.
///
///   sha256[0:16] SPACE json LF
class Journal {
 public:
  /// Records of the journal at `path`; empty when there is no journal. Throws kCorruptFile when a line other than the
  /// last is damaged.
  static std::vector<file::OrderedJson> read(const std::filesystem::path& path);

  /// Opens for appending after `keep` valid records (0: a new journal).
  Journal(const std::filesystem::path& path, const std::vector<file::OrderedJson>& keep);
  void append(const file::OrderedJson& record);

 private:
  file::OutputFile file_;
  std::uint64_t end_ = 0;
};

/// Throws kInvalidArgument naming the first key in which a journal's binding differs from this run's.
void check_binding(const file::OrderedJson& found, const file::OrderedJson& expected);

}  // namespace awq::quantize
