// Layers: every #include of src/ and include/ must follow an arrow of ARCHITECTURE.md.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support/paths.h"
#include "tidy/source_tree.h"

namespace awq::tidy {
namespace {

// A layer may include itself, include/awq, and the layers named here.
const std::map<std::string, std::set<std::string>> kArrows = {
    {"base", {}},
    {"tensor", {"base"}},
    {"file", {"base"}},
    {"report", {"file", "base"}},
    {"quant", {"tensor", "base"}},
    {"formats", {"quant", "file", "tensor", "base"}},
    {"kernels", {"base"}},
    {"device", {"kernels", "base"}},
    {"ops", {"kernels", "quant", "tensor", "base"}},
    {"text", {"file", "base"}},
    {"template", {"text", "file", "base"}},
    {"grammar", {"text", "file", "base"}},
    {"chat", {"engine", "template", "grammar", "text", "file", "base"}},
    {"model", {"ops", "formats", "quant", "file", "tensor", "base"}},
    {"eval", {"model", "ops", "text", "file", "tensor", "base"}},
    {"engine", {"model", "ops", "tensor", "base"}},
    {"gpu", {"device", "kernels", "engine", "model", "ops", "quant", "file", "tensor", "base"}},
    {"generate", {"engine", "model", "ops", "text", "base"}},
    {"server",
     {"chat", "gpu", "device", "engine", "generate", "grammar", "template", "text", "model", "ops", "file", "base"}},
    {"quantize", {"eval", "model", "formats", "text", "ops", "quant", "file", "tensor", "base"}},
    {"gpu_quantize", {"quantize", "device", "kernels", "model", "ops", "quant", "tensor", "base"}},
    {"bench", {"gpu", "device", "model", "ops", "kernels", "quant", "file", "tensor", "base"}},
    {"api", {"gpu",      "gpu_quantize", "device",  "report",   "bench",  "server", "chat",
             "template", "quantize",     "eval",    "generate", "engine", "model",  "formats",
             "text",     "ops",          "kernels", "quant",    "file",   "tensor", "base"}},
    {"cli", {"api", "file", "base"}},
};

// Third-party headers and the only places that may include them.
struct ThirdParty {
  const char* prefix;
  const char* only_below;
};
constexpr ThirdParty kThirdParty[] = {
    {"dnnl", "src/ops/"},           {"oneapi/", "src/ops/"},          {"CLI/", "src/cli/"},
    {"pcre2", "src/text/"},         {"utf8proc", "src/text/"},        {"openssl/", "src/file/"},
    {"nlohmann/", "src/file/json"}, {"boost/", "src/server/"},        {"prometheus/", "src/server/"},
    {"spdlog/", "src/server/"},     {"cublasLt", "src/device/cuda/"},
};

// Instruction-set files are compiled with flags that other files do not have: an inline function of a shared header,
// compiled here, could be the copy that the linker keeps for everybody.
const std::set<std::string> kIsaSystemHeaders = {"immintrin.h", "arm_neon.h", "cstdint", "cstddef"};

const std::set<std::string> kStandard = {"algorithm",
                                         "any",
                                         "array",
                                         "atomic",
                                         "bit",
                                         "bitset",
                                         "cassert",
                                         "cctype",
                                         "cerrno",
                                         "cfloat",
                                         "charconv",
                                         "chrono",
                                         "cinttypes",
                                         "climits",
                                         "cmath",
                                         "compare",
                                         "complex",
                                         "concepts",
                                         "condition_variable",
                                         "csignal",
                                         "cstdarg",
                                         "cstddef",
                                         "cstdint",
                                         "cstdio",
                                         "cstdlib",
                                         "cstring",
                                         "ctime",
                                         "deque",
                                         "exception",
                                         "filesystem",
                                         "forward_list",
                                         "fstream",
                                         "functional",
                                         "future",
                                         "initializer_list",
                                         "iomanip",
                                         "ios",
                                         "iosfwd",
                                         "iostream",
                                         "istream",
                                         "iterator",
                                         "limits",
                                         "list",
                                         "map",
                                         "memory",
                                         "mutex",
                                         "new",
                                         "numbers",
                                         "numeric",
                                         "optional",
                                         "ostream",
                                         "queue",
                                         "random",
                                         "ranges",
                                         "ratio",
                                         "set",
                                         "shared_mutex",
                                         "source_location",
                                         "span",
                                         "sstream",
                                         "stack",
                                         "stdexcept",
                                         "streambuf",
                                         "string",
                                         "string_view",
                                         "system_error",
                                         "thread",
                                         "tuple",
                                         "type_traits",
                                         "typeindex",
                                         "typeinfo",
                                         "unordered_map",
                                         "unordered_set",
                                         "utility",
                                         "valarray",
                                         "variant",
                                         "vector",
                                         "version"};

std::string place(const SourceFile& file, const Include& include) {
  return file.path.string() + ":" + std::to_string(include.line) + ": #include \"" + include.name + "\"";
}

TEST(IncludeRules, LayersFollowTheArrows) {
  const std::vector<SourceFile> files = files_below("src", {".h", ".cpp"});
  ASSERT_GT(files.size(), 50U);
  for (const SourceFile& file : files) {
    const std::string layer = first_folder(file.path.lexically_relative("src"));
    ASSERT_TRUE(kArrows.contains(layer)) << file.path << ": no rule for this folder";
    for (const Include& include : includes_of(file)) {
      const std::string to = first_folder(include.name);
      if (!include.quoted || to == layer || to == "awq") continue;
      if (is_test(file.path) && (to == "support" || include.name == "tolerances.h")) continue;
      // One definition of dequantization is the judge of the kernels.
      if (file.path.string().starts_with("src/kernels/ref/") && include.name == "quant/group_quant.h") continue;
      EXPECT_TRUE(kArrows.contains(to)) << place(file, include) << " names no layer";
      EXPECT_TRUE(kArrows.at(layer).contains(to)) << place(file, include) << ": " << layer << " may not use " << to;
    }
  }
}

TEST(IncludeRules, QuotedNamesAreFullPathsThatExist) {
  const std::filesystem::path root = AWQ_SOURCE_DIR;
  for (const SourceFile& file : files_below("src", {".h", ".cpp"})) {
    for (const Include& include : includes_of(file)) {
      if (!include.quoted) continue;
      const bool found = std::filesystem::exists(root / "src" / include.name) ||
                         std::filesystem::exists(root / "include" / include.name) ||
                         (is_test(file.path) && std::filesystem::exists(root / "tests" / include.name));
      EXPECT_TRUE(found) << place(file, include) << " is not a path below src/ or include/";
    }
  }
}

TEST(IncludeRules, PublicHeadersStandAlone) {
  for (const SourceFile& file : files_below("include", {".h"})) {
    for (const Include& include : includes_of(file)) {
      const bool allowed = include.quoted ? include.name.starts_with("awq/") : kStandard.contains(include.name);
      EXPECT_TRUE(allowed) << place(file, include) << ": public headers include the standard library and awq/ only";
    }
  }
}

TEST(IncludeRules, ThirdPartyStaysInItsLayer) {
  for (const SourceFile& file : files_below("src", {".h", ".cpp"})) {
    for (const Include& include : includes_of(file)) {
      for (const ThirdParty& rule : kThirdParty) {
        if (!include.name.starts_with(rule.prefix)) continue;
        EXPECT_TRUE(file.path.string().starts_with(rule.only_below))
            << place(file, include) << ": only " << rule.only_below << " may";
      }
    }
  }
}

TEST(IncludeRules, InstructionSetFilesShareNothing) {
  int checked = 0;
  for (const SourceFile& file : files_below("src/kernels/cpu", {".h", ".cpp"})) {
    if (is_test(file.path)) continue;
    ++checked;
    for (const Include& include : includes_of(file)) {
      const bool allowed =
          include.quoted ? include.name.starts_with("kernels/") : kIsaSystemHeaders.contains(include.name);
      EXPECT_TRUE(allowed) << place(file, include) << ": instruction-set files include kernel headers and intrinsics";
    }
  }
  EXPECT_GT(checked, 0);
  // The kernel headers that they include are as bare.
  for (const SourceFile& file : files_below("src/kernels/api", {".h"})) {
    for (const Include& include : includes_of(file)) {
      const bool allowed =
          include.quoted ? include.name.starts_with("kernels/") : kIsaSystemHeaders.contains(include.name);
      EXPECT_TRUE(allowed) << place(file, include) << ": headers of instruction-set files include no library";
    }
  }
}

}  // namespace
}  // namespace awq::tidy
