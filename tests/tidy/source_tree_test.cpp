// Rules for the text of the repository, and the helpers that read it.

#include "tidy/source_tree.h"
#include "support/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

namespace awq::tidy {

namespace fs = std::filesystem;

std::vector<SourceFile> files_below(const std::string& folder, const std::vector<std::string>& suffixes) {
  const fs::path root = AWQ_SOURCE_DIR;
  std::vector<SourceFile> out;
  for (auto entry = fs::recursive_directory_iterator(root / folder); entry != fs::recursive_directory_iterator();
       ++entry) {
    const std::string name = entry->path().filename().string();
    const bool generated = name.starts_with(".") || name.starts_with("build") || name == "__pycache__";
    if (entry->is_directory() && generated) entry.disable_recursion_pending();
    if (!entry->is_regular_file()) continue;
    const bool wanted = suffixes.empty() || std::any_of(suffixes.begin(), suffixes.end(),
                                                        [&](const std::string& s) { return name.ends_with(s); });
    if (!wanted) continue;
    SourceFile file{.path = entry->path().lexically_relative(root)};
    std::ifstream in(entry->path(), std::ios::binary);
    file.text.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    std::istringstream lines(file.text);
    for (std::string line; std::getline(lines, line);) file.lines.push_back(line);
    out.push_back(std::move(file));
  }
  std::sort(out.begin(), out.end(), [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return out;
}

std::vector<Include> includes_of(const SourceFile& file) {
  std::vector<Include> out;
  for (std::size_t i = 0; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    std::size_t at = line.find_first_not_of(" \t");
    if (at == std::string::npos || line[at] != '#') continue;
    at = line.find_first_not_of(" \t", at + 1);
    if (at == std::string::npos || line.compare(at, 7, "include") != 0) continue;
    const std::size_t open = line.find_first_of("\"<", at);
    if (open == std::string::npos) continue;
    const bool quoted = line[open] == '"';
    const std::size_t close = line.find(quoted ? '"' : '>', open + 1);
    out.push_back({line.substr(open + 1, close - open - 1), quoted, static_cast<int>(i) + 1});
  }
  return out;
}

std::string first_folder(const fs::path& path) { return path.begin()->string(); }

bool is_test(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with("_test.cpp") || name.ends_with("test_support.h");
}

namespace {

const std::vector<std::string> kCode = {".h", ".cpp", ".py", ".sh", ".cmake", "CMakeLists.txt", "CMakePresets.json"};

/// Everything that people write, without data: weights, corpora, calibration texts.
std::vector<SourceFile> written_files(const std::vector<std::string>& suffixes) {
  std::vector<SourceFile> out;
  for (SourceFile& file : files_below("", suffixes)) {
    const std::string path = file.path.string();
    const bool data = path.starts_with("models/") || path.starts_with("tests/golden/models/") ||
                      path.starts_with("tests/fuzz/corpus/") || path.starts_with("calibration/");
    if (!data) out.push_back(std::move(file));
  }
  return out;
}

std::string at(const SourceFile& file, std::size_t line) { return file.path.string() + ":" + std::to_string(line + 1); }

TEST(SourceTree, EverySourceIsBuilt) {
  const auto read = [](const std::string& path) {
    std::ifstream in(fs::path(AWQ_SOURCE_DIR) / path);
    return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  };
  const std::string layers = read("src/CMakeLists.txt");
  for (const SourceFile& file : files_below("src", {".cpp"})) {
    const std::string layer = first_folder(file.path.lexically_relative("src"));
    EXPECT_NE(layers.find(layer), std::string::npos) << file.path << ": src/CMakeLists.txt does not name " << layer;
    EXPECT_NE(read("src/" + layer + "/CMakeLists.txt").find("awq_layer(" + layer), std::string::npos) << file.path;
  }
  for (const SourceFile& file : files_below("tests", {".cpp"})) {
    const std::string folder = file.path.parent_path().filename().string();
    const std::string name = file.path.filename().string();
    const bool grouped = folder == "golden" || folder == "property" || folder == "tidy";
    const bool built = grouped            ? name.ends_with("_test.cpp")
                       : folder == "fuzz" ? name.ends_with("_fuzz.cpp") || name == "replay_main.cpp"
                                          : read("tests/" + folder + "/CMakeLists.txt").find(name) != std::string::npos;
    EXPECT_TRUE(built) << file.path << ": no CMake target builds it";
  }
}

TEST(SourceTree, BannedWords) {
  // regex: exponential time and a stack overflow on long input. The others: no error, or a locale, on bad input.
  const std::vector<std::string> banned = {"std::regex", "strtoul", "strtol(", "atoi(", "atof(", "std::stoi", "stoul("};
  for (const SourceFile& file : files_below("src", {".h", ".cpp"})) {
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string& word : banned) {
        EXPECT_EQ(file.lines[i].find(word), std::string::npos) << at(file, i) << ": " << word;
      }
    }
  }
}

TEST(SourceTree, NoAbsoluteMachinePaths) {
  // Built from parts, or this file would find itself.
  std::vector<std::string> roots;
  for (const char* name : {"home", "root", "Users", "work", "mnt"}) roots.push_back(std::string("/") + name + "/");
  std::vector<std::string> suffixes = kCode;
  suffixes.insert(suffixes.end(), {".md", ".yml", ".yaml", ".json"});
  for (const SourceFile& file : written_files(suffixes)) {
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      for (const std::string& root : roots) {
        const std::size_t found = line.find(root);
        if (found == std::string::npos) continue;
        const bool starts = found == 0 || std::string(" \t\"'`(=:").find(line[found - 1]) != std::string::npos;
        EXPECT_FALSE(starts) << at(file, i) << ": a path of one machine: " << line;
      }
    }
  }
}

TEST(SourceTree, Whitespace) {
  std::vector<std::string> suffixes = kCode;
  suffixes.push_back(".md");
  for (const SourceFile& file : written_files(suffixes)) {
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      EXPECT_EQ(line.find('\t'), std::string::npos) << at(file, i) << ": a tab";
      EXPECT_FALSE(!line.empty() && (line.back() == ' ' || line.back() == '\r')) << at(file, i) << ": ends in a blank";
    }
    EXPECT_TRUE(file.text.empty() || file.text.back() == '\n') << file.path << ": no line end at the end";
  }
}

TEST(SourceTree, NoLargeFiles) {
  constexpr std::size_t kLimit = 256 * 1024;
  for (const SourceFile& file : files_below("", {})) {
    if (file.path.string().starts_with("models/")) continue;
    EXPECT_LE(file.text.size(), kLimit) << file.path;
  }
}

/// Prints, never fails: a reader decides whether a long file or function should be split.
TEST(SourceTree, LongFilesAndFunctionsForReview) {
  constexpr std::size_t kLongFile = 400;
  constexpr std::size_t kLongFunction = 70;
  for (const SourceFile& file : written_files({".h", ".cpp"})) {
    if (file.lines.size() > kLongFile) {
      std::cout << "  long file: " << file.path.string() << ", " << file.lines.size() << " lines\n";
    }
    // A function as clang-format lays it out: a line that opens a brace and ends at a brace of the same indentation.
    for (std::size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      if (!line.ends_with(") {") && !line.ends_with(") const {") && !line.ends_with("noexcept {")) continue;
      const std::size_t indent = line.find_first_not_of(' ');
      if (indent > 2 || line.starts_with("TEST")) continue;
      const std::string end = std::string(indent, ' ') + "}";
      const auto close = std::find(file.lines.begin() + static_cast<std::ptrdiff_t>(i), file.lines.end(), end);
      const auto length = static_cast<std::size_t>(close - file.lines.begin()) - i + 1;
      if (close != file.lines.end() && length > kLongFunction) {
        std::cout << "  long function: " << at(file, i) << ", " << length << " lines\n";
      }
    }
  }
}

}  // namespace
}  // namespace awq::tidy
