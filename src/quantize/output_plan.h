#pragma once

#include <string>
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
};

/// A tensor that goes from the input to the output unchanged, perhaps under another name.
struct CopiedTensor {
  std::string from;
  std::string to;
};

/// Everything about the output that is known before the first weight is read.
struct OutputPlan {
  quant::Scheme scheme;
  DType scale_dtype = DType::kF16;
  const formats::Codec* codec = nullptr;
  std::vector<PlannedLinear> linears;  ///< by layer, in the order of the architecture
  std::vector<CopiedTensor> copied;
  formats::CheckpointPlan checkpoint;
  std::vector<std::string> remarks;  ///< what a user of the result should know, one line each

  std::array<bool, model::kRoles> quantized_roles(std::int64_t layer) const;
  std::vector<std::string> quantized_modules() const;
  /// Names of linears that stay in 16 bit, the head included.
  std::vector<std::string> kept_modules(const model::ModelFiles& files) const;
};

/// Throws kInvalidArgument for options that no output can have, kUnsupported when nothing is left to quantize or the
/// input is quantized already.
OutputPlan plan_output(const model::ModelFiles& files, const QuantizeOptions& options);

}  // namespace awq::quantize
