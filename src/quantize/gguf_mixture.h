#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "model/model_files.h"
#include "quant/gguf_blocks.h"

namespace awq::quantize {

/// A file type of llama.cpp: which tensor gets which element type. Rules with examples: docs/formats/gguf-blocks.md.
struct GgufRecipe {
  const char* method;  ///< what --method and --methods take: "gguf-q4_k_m"
  const char* summary;
  quant::GgufType base;  ///< of most linears
  bool mixture;          ///< true: the layers that matter most get more bits ("_M")
};

/// All of them, and the one of that name or null.
std::span<const GgufRecipe> gguf_recipes();
const GgufRecipe* find_gguf_recipe(std::string_view method);

/// Element types that a recipe gives the tensors of one model.
class GgufMixture {
 public:
  GgufMixture(const GgufRecipe& recipe, const model::ModelFiles& files);

  quant::GgufType linear(std::int64_t layer, model::Role role) const;
  quant::GgufType embedding() const;
  /// Of the output matrix; the embedding's when both are one tensor.
  quant::GgufType head() const;
  /// Bytes of all tensor data in the file, each tensor filled up to 32; norms and biases in F32. The metadata
  /// (vocabulary, keys) comes on top.
  std::uint64_t tensor_bytes() const;

 private:
  /// `wanted`, or what stands in for it where rows are no whole blocks.
  static quant::GgufType fitted(quant::GgufType wanted, std::int64_t in_features);

  const GgufRecipe& recipe_;
  const model::ModelFiles& files_;
  bool tied_;
};

}  // namespace awq::quantize
