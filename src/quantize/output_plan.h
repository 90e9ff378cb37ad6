#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "awq/quantizer.h"
#include "formats/checkpoint_writer.h"
#include "formats/codec.h"
#include "model/model_files.h"
#include "quantize/layer_quantizer.h"

namespace awq::quantize {

struct PlannedLinear {
  std::int64_t layer = 0;
  const model::LinearSpec* spec = nullptr;
  std::string module;
  std::string kept_because;  ///< empty: it will be quantized
  quant::Scheme scheme;
};

/// Embedding or head of the output, where they are stored in 8 bits. One matrix may be both.
struct PlannedVocabulary {
  std::string from;    ///< tensor of the input, [vocab_size, hidden_size]
  std::string module;  ///< of the output
  quant::Scheme scheme;
  DType scale_dtype = DType::kF16;
};

/// Sites (layer and place in it) all of whose linears get 8 bits. Linears of one site are one fused projection in the
/// servers, which want one scheme for it.
using WideSites = std::set<std::pair<std::int64_t, model::Site>>;

/// A tensor that goes from the input to the output unchanged, perhaps under another name.
struct CopiedTensor {
  std::string from;
  std::string to;
};

/// Everything about the output that is known before the first weight is read.
struct OutputPlan {
  quant::Scheme scheme;  ///< of linears that are not at wide sites
  DType scale_dtype = DType::kF16;
  const formats::Codec* codec = nullptr;
  std::vector<PlannedLinear> linears;  ///< by layer, in the order of the architecture
  std::vector<PlannedVocabulary> vocabulary;
  std::vector<CopiedTensor> copied;
  formats::CheckpointPlan checkpoint;
  std::vector<std::string> remarks;  ///< what a user of the result should know, one line each

  std::array<bool, model::kRoles> quantized_roles(std::int64_t layer) const;
  std::vector<std::string> quantized_modules() const;
  /// Those of the wide sites.
  std::vector<std::string> wide_modules() const;
  /// Names of linears that stay in 16 bit, the head included.
  std::vector<std::string> kept_modules(const model::ModelFiles& files) const;
  /// The scheme of the embedding, where it has one.
  const PlannedVocabulary* quantized_embedding(const model::ModelFiles& files) const;
  /// False when one tensor serves as embedding and head.
  bool has_own_head(const model::ModelFiles& files) const;
  /// What the writer of config.json needs.
  formats::QuantizationSummary summary(const model::ModelFiles& files) const;
};

/// How linears of wide sites are stored: symmetric, because that is what servers have kernels for.
quant::Scheme wide_scheme(const quant::Scheme& narrow);

/// Throws kInvalidArgument for options that no output can have, kUnsupported when nothing is left to quantize or the
/// input is quantized already.
OutputPlan plan_output(const model::ModelFiles& files, const QuantizeOptions& options, const WideSites& wide = {});

}  // namespace awq::quantize
