// An exception that leaves an OpenMP region ends the program, and everything that allocates may throw.

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // a false alarm of GCC 12 in <regex> under sanitizers
#endif

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tidy/source_tree.h"

namespace awq::tidy {
namespace {

/// The statement or block that follows a directive which ends at `from`.
std::string statement_at(const std::string& text, std::size_t from) {
  int depth = 0;
  for (std::size_t at = from; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '(' || c == '{') ++depth;
    if (c == ')' || c == '}') --depth;
    if ((c == '}' || c == ';') && depth == 0) return text.substr(from, at - from + 1);
  }
  return text.substr(from);
}

/// Regions that open a team of threads, each with its line number.
std::vector<std::pair<int, std::string>> parallel_regions(const std::string& text) {
  std::vector<std::pair<int, std::string>> out;
  const std::string directive = "#pragma omp parallel";
  for (std::size_t at = text.find(directive); at != std::string::npos; at = text.find(directive, at + 1)) {
    const auto line = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    out.emplace_back(static_cast<int>(line) + 1, statement_at(text, text.find('\n', at)));
  }
  return out;
}

/// What in a region may throw and is under no guard; empty when nothing is.
std::string unguarded(const std::string& region) {
  // A container that is made or grown here; references, pointers, spans and empty containers do not allocate.
  static const std::regex kThrows(
      R"((std::vector<[^;&*]*>|AlignedBuffer<[^;&*]*>|std::string) \w+[({][^)}]|\.(resize|push_back|emplace_back|ensure)\(|\b(gemm|fail)\()");
  std::smatch found;
  const bool throws = std::regex_search(region, found, kThrows);
  return throws && region.find(".guard(") == std::string::npos ? found.str() : std::string();
}

TEST(ParallelRegions, TheFinderFinds) {
  const auto regions =
      parallel_regions("int a;\n#pragma omp parallel for\nfor (int i = 0; i < 3; ++i) {\n  f(i);\n}\nint b;\n");
  ASSERT_EQ(regions.size(), 1U);
  EXPECT_EQ(regions[0].first, 2);
  EXPECT_EQ(regions[0].second, "\nfor (int i = 0; i < 3; ++i) {\n  f(i);\n}");
  EXPECT_EQ(unguarded("{ std::vector<float> row(width); }"), "std::vector<float> row(w");
  EXPECT_EQ(unguarded("{ out.push_back(1); }"), ".push_back(");
  EXPECT_EQ(unguarded("{ error.guard([&] { std::vector<float> row(width); }); }"), "");
  EXPECT_EQ(unguarded("{ const std::vector<float>& row(rows[i]); std::vector<float> empty; y += row[i]; }"), "");
}

TEST(ParallelRegions, NothingThatMayThrowIsOutsideAGuard) {
  int regions = 0;
  for (const SourceFile& file : files_below("src", {".cpp", ".h"})) {
    if (is_test(file.path)) continue;
    for (const auto& [line, region] : parallel_regions(file.text)) {
      ++regions;
      EXPECT_EQ(unguarded(region), "") << file.path << " line " << line
                                       << ": allocate before the region, or use ParallelError (base/parallel.h)";
    }
  }
  EXPECT_GT(regions, 20);
}

}  // namespace
}  // namespace awq::tidy
