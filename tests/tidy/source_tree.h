#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace awq::tidy {

/// A text file of the repository.
struct SourceFile {
  std::filesystem::path path;  ///< relative to the repository
  std::string text;
  std::vector<std::string> lines;
};

/// An #include of a file.
struct Include {
  std::string name;  ///< what stands between the quotes or brackets
  bool quoted = false;
  int line = 0;
};

/// Files below `folder` (relative to the repository) whose name ends in one of `suffixes`; all when there are none.
std::vector<SourceFile> files_below(const std::string& folder, const std::vector<std::string>& suffixes);
std::vector<Include> includes_of(const SourceFile& file);
/// First folder of a path such as "ops/linear.h".
std::string first_folder(const std::filesystem::path& path);
bool is_test(const std::filesystem::path& path);

}  // namespace awq::tidy
