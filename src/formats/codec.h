#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "file/json.h"
#include "formats/checkpoint.h"
#include "quant/quantized_tensor.h"

namespace awq::formats {

/// Classes of modules that a configuration can speak of as a whole.
enum class ModuleClass : std::uint8_t { kLinear, kEmbedding };

/// Modules of one scheme, where a configuration has several.
struct TargetGroup {
  std::vector<std::string> targets;  ///< full names, "re:" and an expression, or "Linear" and "Embedding"
  quant::Scheme scheme;
  bool needs_group_index = false;
};

/// What a checkpoint's `quantization_config` says.
struct QuantizationInfo {
  quant::Scheme scheme;  ///< of all modules, or of the first group
  /// Substrings (AWQ, GPTQ) or full names and "re:" patterns (compressed-tensors) of modules that stay in 16 bit.
  std::vector<std::string> not_converted;
  bool zero_offset_by_one = false;  ///< GPTQ v1 stores zero - 1
  bool needs_group_index = false;   ///< groups do not follow the inputs' order: a module without g_idx is corrupt
  std::vector<TargetGroup> groups;  ///< in their order; empty: every quantized module has `scheme`

  /// What holds for one module, without groups. A full name counts before an expression, that before a class.
  /// Throws kCorruptFile when no group speaks of the module.
  QuantizationInfo of(const std::string& module, ModuleClass kind) const;
};

/// A tensor that encode() made, to be stored as MODULE + "." + suffix.
struct EncodedTensor {
  std::string suffix;
  DType dtype = DType::kI32;
  std::vector<std::uint64_t> shape;
  std::vector<std::byte> bytes;
};

/// Modules of one scheme, full names in model order.
struct SchemeGroup {
  quant::Scheme scheme;
  std::vector<std::string> modules;
};

/// What the writer of `quantization_config` needs to know.
struct QuantizationSummary {
  quant::Scheme scheme;
  DType scale_dtype = DType::kF16;
  std::vector<std::string> quantized_modules;    ///< of the scheme above: full names of linears, in model order
  std::vector<SchemeGroup> other_linears;        ///< linears of the layers that have another scheme
  std::vector<SchemeGroup> vocabulary;           ///< embedding and head, where they are quantized
  std::vector<std::string> unquantized_linears;  ///< full names of linears that stay in 16 bit, lm_head included
};

/// One stored format of quantized linears. Rows are in codecs.cpp; nothing else knows how many there are.
struct Codec {
  const char* name;  ///< what --format takes: "awq", "compressed-tensors", "float-quantized", "fp8"

  /// True when `config` (the quantization_config object) belongs to this codec.
  bool (*accepts)(const file::Json& config);
  /// Throws kCorruptFile or kUnsupported naming `file_name` and the key.
  QuantizationInfo (*read_config)(const file::Json& config, const std::string& file_name);
  /// The suffix of the tensor that shows that a module is quantized: "qweight".
  const char* marker_suffix;
  /// Decodes module `module` of shape [N, K]. Checks every tensor's dtype and shape against N, K and the scheme.
  quant::QuantizedTensor (*decode)(const Checkpoint& checkpoint, const std::string& module,
                                   const QuantizationInfo& info, std::uint64_t out_features, std::uint64_t in_features);

  /// Null when this format can store such a linear, else the reason in words. A codec that only reads always refuses.
  const char* (*refuses)(const quant::Scheme& scheme, std::uint64_t out_features, std::uint64_t in_features);
  /// Suffix, dtype and shape of every tensor that encode() will make, in its order.
  std::vector<TensorSpec> (*encoded_specs)(const quant::Scheme& scheme, DType scale_dtype, std::uint64_t out_features,
                                           std::uint64_t in_features);
  std::vector<EncodedTensor> (*encode)(const quant::QuantizedTensor& tensor);
  file::OrderedJson (*write_config)(const QuantizationSummary& summary);
  /// True when modules of one file may differ in their scheme, and embedding and head may be among them.
  bool several_schemes = false;
};

/// All formats, in the order in which they are tried on a checkpoint.
std::span<const Codec* const> codecs();
/// The codec of that name, or null.
const Codec* find_codec(std::string_view name);
/// The codec that a model's config.json asks for, null for an unquantized model.
/// Throws kUnsupported when quantization_config names a method that no codec reads.
const Codec* codec_of(const file::Json& model_config, const std::string& file_name);

}  // namespace awq::formats
