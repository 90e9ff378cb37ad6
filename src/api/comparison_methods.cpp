#include "api/comparison_methods.h"

#include <algorithm>

#include "base/check.h"
#include "quantize/gguf_mixture.h"

namespace awq::api {
namespace {

constexpr MethodRow kRows[] = {
    {"rtn", "every weight to the nearest code", [](QuantizeOptions& o) { o.method = "rtn"; }},
    {"gptq", "error feedback against the Gram matrix (act-order, static groups)",
     [](QuantizeOptions& o) { o.method = "gptq"; }},
    {"paper", "AutoAWQ's recipe: scales, clip, rounding",
     [](QuantizeOptions& o) {
       o.method = "awq";
       o.recipe = "paper";
     }},
    {"awq", "the default recipe of awq quantize", [](QuantizeOptions& o) { o.method = "awq"; }},
    {"mixed",
     "the default recipe; embedding, head and the linears that lose most in 8 bits, 5.5 bits per weight at most",
     [](QuantizeOptions& o) {
       o.method = "awq";
       o.format = "compressed-tensors";
       o.embed_bits = 8;
       o.head_bits = 8;
       o.target_bpw = 5.5;
     }},
    {"fp8", "E4M3 with a scale per output channel", [](QuantizeOptions& o) { o.method = "fp8"; }},
    {"fp8-block", "E4M3 with a scale per block of 128 x 128",
     [](QuantizeOptions& o) {
       o.method = "fp8";
       o.format = "fp8";
     }},
};

}  // namespace

std::vector<MethodRow> method_rows() {
  std::vector<MethodRow> out(std::begin(kRows), std::end(kRows));
  for (const quantize::GgufRecipe& recipe : quantize::gguf_recipes()) {
    out.push_back({recipe.method, recipe.summary, nullptr});
  }
  return out;
}

std::vector<MethodRow> select_methods(const std::vector<std::string>& names) {
  std::vector<MethodRow> all = method_rows();
  if (names.empty()) return all;
  std::vector<MethodRow> out;
  for (const std::string& name : names) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const MethodRow& row) { return name == row.name; });
    if (found == all.end()) {
      std::string known;
      for (const MethodRow& row : all) known += (known.empty() ? "" : ", ") + std::string(row.name);
      fail(ErrorCode::kInvalidArgument, "--methods {}: expected some of {}", printable(name), known);
    }
    const bool twice = std::any_of(out.begin(), out.end(), [&](const MethodRow& row) { return name == row.name; });
    if (twice) fail(ErrorCode::kInvalidArgument, "--methods {}: is given twice", printable(name));
    out.push_back(*found);
  }
  return out;
}

}  // namespace awq::api
