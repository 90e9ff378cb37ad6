// FP8 (E4M3) checkpoints, in the two forms that servers load: compressed-tensors "float-quantized" with a scale per
// output channel, and "fp8" with a scale per block of 128 x 128. Layouts: docs/formats/fp8.md.

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "formats/codec_rows.h"
#include "formats/config_reader.h"
#include "formats/packed_module.h"
#include "tensor/convert.h"

namespace awq::formats {
namespace {

constexpr std::int64_t kBlock = 128;
constexpr const char* kCompressedTensors = "compressed-tensors";
constexpr const char* kFloatFormat = "float-quantized";
constexpr quant::Scheme kPerChannel = {
    .bits = 8, .group_size = -1, .symmetric = true, .kind = quant::CodeKind::kE4M3, .rows_per_scale = 1};
constexpr quant::Scheme kPerBlock = {
    .bits = 8, .group_size = kBlock, .symmetric = true, .kind = quant::CodeKind::kE4M3, .rows_per_scale = kBlock};

std::uint64_t grid_rows(const quant::Scheme& scheme, std::uint64_t out_features) {
  const auto block = static_cast<std::uint64_t>(scheme.rows_per_scale);
  return (out_features + block - 1) / block;
}

std::uint64_t grid_columns(const quant::Scheme& scheme, std::uint64_t in_features) {
  return in_features / quant::resolved_group_size(scheme, in_features);
}

const char* refuses_scheme(const quant::Scheme& scheme, const quant::Scheme& own) {
  return scheme == own ? nullptr : "this format stores FP8 weights only: --method fp8";
}

// ---- what both forms share: weight F8_E4M3 [N, K] and a grid of scales

quant::QuantizedTensor decode_grid(const Checkpoint& checkpoint, const std::string& module, const char* scale_suffix,
                                   const quant::Scheme& scheme, std::uint64_t out_features, std::uint64_t in_features) {
  const auto corrupt = [&](const char* suffix, const std::string& what) {
    fail(ErrorCode::kCorruptFile, "tensor \"{}.{}\": {}", printable(module), suffix, what);
  };
  if (refuses_groups(scheme, in_features) != nullptr) {
    corrupt("weight", fmt::format("{} inputs are no whole blocks of {}", in_features, scheme.group_size));
  }
  const Checkpoint::Tensor& weight = checkpoint.get(module + ".weight");
  const std::vector<std::uint64_t> shape{out_features, in_features};
  if (weight.dtype != DType::kF8E4M3 || weight.shape != shape) {
    corrupt("weight", fmt::format("is {} {}, expected F8_E4M3 {}", dtype_name(weight.dtype), shape_string(weight.shape),
                                  shape_string(shape)));
  }
  const std::uint64_t rows = grid_rows(scheme, out_features);
  const std::uint64_t columns = grid_columns(scheme, in_features);
  const Checkpoint::Tensor& stored = checkpoint.get(module + "." + scale_suffix);
  const std::vector<std::uint64_t> grid{rows, columns};
  // One number for the whole tensor and [N] without the second axis are older ways to write a column.
  const bool one = stored.elements() == 1;
  const bool flat = stored.shape == std::vector<std::uint64_t>{rows} && columns == 1;
  if (!is_float_weight(stored.dtype) || (stored.shape != grid && !flat && !(one && scheme.rows_per_scale == 1))) {
    corrupt(scale_suffix, fmt::format("is {} {}, expected F32, F16 or BF16 {}", dtype_name(stored.dtype),
                                      shape_string(stored.shape), shape_string(grid)));
  }
  std::vector<float> scales(stored.elements());
  checkpoint.read_floats(stored, scales);
  const auto bad = std::find_if(scales.begin(), scales.end(), [](float s) { return !std::isfinite(s); });
  if (bad != scales.end()) {
    corrupt(scale_suffix, fmt::format("element {} is {}, expected a finite number", bad - scales.begin(), *bad));
  }

  quant::QuantizedTensor tensor;
  tensor.out_features = out_features;
  tensor.in_features = in_features;
  tensor.scheme = scheme;
  tensor.scale_dtype = stored.dtype;
  tensor.codes = AlignedBuffer<std::uint8_t>(out_features * in_features);
  tensor.scales = AlignedBuffer<float>(out_features * columns);
  tensor.zero_points = AlignedBuffer<std::uint8_t>(out_features * columns);
  checkpoint.read(weight, std::as_writable_bytes(tensor.codes.span()));
  const auto nan =
      std::find_if(tensor.codes.begin(), tensor.codes.end(), [](std::uint8_t c) { return (c & 0x7F) == 0x7F; });
  if (nan != tensor.codes.end()) {
    corrupt("weight", fmt::format("element {} is NaN, expected a finite number; the file is damaged",
                                  nan - tensor.codes.begin()));
  }
  for (std::uint64_t n = 0; n < out_features; ++n) {
    const std::uint64_t row = n / static_cast<std::uint64_t>(scheme.rows_per_scale);
    for (std::uint64_t g = 0; g < columns; ++g) {
      tensor.scales[n * columns + g] = one ? scales.front() : scales[row * columns + g];
    }
  }
  return tensor;
}

std::vector<TensorSpec> grid_specs(const char* scale_suffix, const quant::Scheme& scheme, DType scale_dtype,
                                   std::uint64_t out_features, std::uint64_t in_features) {
  return {{scale_suffix, scale_dtype, {grid_rows(scheme, out_features), grid_columns(scheme, in_features)}},
          {"weight", DType::kF8E4M3, {out_features, in_features}}};
}

std::vector<EncodedTensor> encode_grid(const char* scale_suffix, const quant::QuantizedTensor& tensor) {
  const std::uint64_t rows = grid_rows(tensor.scheme, tensor.out_features);
  const std::uint64_t columns = tensor.groups();
  std::vector<float> scales(rows * columns);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const float* from = tensor.scales.data() + row * static_cast<std::uint64_t>(tensor.scheme.rows_per_scale) * columns;
    std::copy(from, from + columns, scales.begin() + static_cast<std::ptrdiff_t>(row * columns));
  }
  EncodedTensor weight{"weight", DType::kF8E4M3, {tensor.out_features, tensor.in_features}, {}};
  const std::span<const std::byte> codes = tensor.codes.bytes();
  weight.bytes.assign(codes.begin(), codes.end());
  EncodedTensor scale{scale_suffix, tensor.scale_dtype, {rows, columns}, {}};
  scale.bytes.resize(scales.size() * (dtype_bits(tensor.scale_dtype) / 8));
  narrow_from_float(tensor.scale_dtype, scales, scale.bytes);
  std::vector<EncodedTensor> out;
  out.push_back(std::move(scale));
  out.push_back(std::move(weight));
  return out;
}

// ---- compressed-tensors, float-quantized, a scale per output channel

std::optional<std::string> stored_format(const file::Json& config) {
  const auto text = [](const file::Json& object) -> std::optional<std::string> {
    const auto found = object.is_object() ? object.find("format") : object.end();
    if (!object.is_object() || found == object.end() || !found->is_string()) return std::nullopt;
    return found->get<std::string>();
  };
  if (const auto format = text(config)) return format;
  const auto groups = config.find("config_groups");
  if (groups == config.end() || !groups->is_object() || groups->empty()) return std::nullopt;
  return text(groups->begin().value());
}

bool accepts_channel(const file::Json& config) {
  return has_quant_method(config, kCompressedTensors) && stored_format(config) == kFloatFormat;
}

/// Servers round activations to FP8 as well where these keys say so. Here they stay as they are, which is nearer to the
/// model; activations with fixed scales would come with tensors of their own.
void check_activations(const ConfigReader& group) {
  if (group.find("output_activations") != nullptr) {
    group.unsupported("output_activations", "quantized outputs cannot be read");
  }
  const std::optional<ConfigReader> inputs = group.object("input_activations");
  if (inputs && inputs->text({"type"}).value_or("int") != "float") {
    inputs->unsupported("type", "only \"float\" can be read beside FP8 weights");
  }
}

QuantizationInfo read_channel_config(const file::Json& config, const std::string& file_name) {
  const ConfigReader reader(config, file_name + ": quantization_config");
  const std::optional<ConfigReader> groups = reader.object("config_groups");
  if (!groups || groups->json().size() != 1) reader.unsupported("config_groups", "expected exactly one group");
  const std::string name = groups->json().begin().key();
  const std::optional<ConfigReader> group = groups->object(name.c_str());
  if (!group) groups->corrupt(printable(name, 40).c_str(), "is null");
  check_activations(*group);
  if (group->texts({"targets"}) != std::vector<std::string>{"Linear"}) {
    group->unsupported("targets", "only [\"Linear\"] can be read");
  }
  const std::optional<ConfigReader> weights = group->object("weights");
  if (!weights) group->corrupt("weights", "is missing");
  if (weights->text({"type"}) != "float") weights->unsupported("type", "expected \"float\"");
  const std::int64_t bits = weights->required_integer({"num_bits"});
  if (bits != 8) weights->unsupported("num_bits", fmt::format("found {}, expected 8", bits));
  const std::string strategy = weights->text({"strategy"}).value_or("");
  if (strategy != "channel" && strategy != "tensor") {
    weights->unsupported(
        "strategy", fmt::format("\"{}\" cannot be read, only \"channel\" and \"tensor\"", printable(strategy, 40)));
  }
  QuantizationInfo info;
  info.scheme = kPerChannel;
  info.not_converted = reader.texts({"ignore"});
  return info;
}

quant::QuantizedTensor decode_channel(const Checkpoint& checkpoint, const std::string& module,
                                      const QuantizationInfo& info, std::uint64_t out_features,
                                      std::uint64_t in_features) {
  return decode_grid(checkpoint, module, "weight_scale", info.scheme, out_features, in_features);
}

const char* refuses_channel(const quant::Scheme& scheme, std::uint64_t, std::uint64_t) {
  return refuses_scheme(scheme, kPerChannel);
}

std::vector<TensorSpec> channel_specs(const quant::Scheme& scheme, DType scale_dtype, std::uint64_t out_features,
                                      std::uint64_t in_features) {
  return grid_specs("weight_scale", scheme, scale_dtype, out_features, in_features);
}

std::vector<EncodedTensor> encode_channel(const quant::QuantizedTensor& tensor) {
  return encode_grid("weight_scale", tensor);
}

// The library's preset FP8_DYNAMIC: what servers have fast kernels for.
file::OrderedJson write_channel_config(const QuantizationSummary& summary) {
  const auto arguments = [](const char* strategy, bool dynamic) {
    file::OrderedJson out;
    out["num_bits"] = 8;
    out["type"] = "float";
    out["symmetric"] = true;
    out["strategy"] = strategy;
    out["dynamic"] = dynamic;
    out["group_size"] = nullptr;
    out["block_structure"] = nullptr;
    out["observer"] = dynamic ? file::OrderedJson(nullptr) : file::OrderedJson("minmax");
    out["observer_kwargs"] = file::OrderedJson::object();
    return out;
  };
  file::OrderedJson group;
  group["targets"] = file::OrderedJson::array({"Linear"});
  group["weights"] = arguments("channel", false);
  group["input_activations"] = arguments("token", true);
  group["output_activations"] = nullptr;
  file::OrderedJson config;
  config["quant_method"] = kCompressedTensors;
  config["format"] = kFloatFormat;
  config["quantization_status"] = "compressed";
  config["config_groups"]["group_0"] = std::move(group);
  config["ignore"] = summary.unquantized_linears;
  config["global_compression_ratio"] = nullptr;
  config["kv_cache_scheme"] = nullptr;
  return config;
}

// ---- fp8, a scale per block of 128 x 128

bool accepts_block(const file::Json& config) { return has_quant_method(config, "fp8"); }

QuantizationInfo read_block_config(const file::Json& config, const std::string& file_name) {
  const ConfigReader reader(config, file_name + ": quantization_config");
  const std::string fmt_name = reader.text({"fmt"}).value_or("e4m3");
  if (fmt_name != "e4m3") reader.unsupported("fmt", fmt::format("\"{}\" cannot be read", printable(fmt_name, 40)));
  const file::Json* block = reader.find("weight_block_size");
  if (block == nullptr) {
    reader.unsupported("weight_block_size", "is missing; fp8 checkpoints with one scale per tensor cannot be read");
  }
  if (*block != file::Json::array({kBlock, kBlock})) {
    reader.unsupported("weight_block_size", "expected [128, 128]");
  }
  QuantizationInfo info;
  info.scheme = kPerBlock;
  info.not_converted = reader.texts({"modules_to_not_convert"});
  return info;
}

quant::QuantizedTensor decode_block(const Checkpoint& checkpoint, const std::string& module,
                                    const QuantizationInfo& info, std::uint64_t out_features,
                                    std::uint64_t in_features) {
  return decode_grid(checkpoint, module, "weight_scale_inv", info.scheme, out_features, in_features);
}

const char* refuses_block(const quant::Scheme& scheme, std::uint64_t, std::uint64_t in_features) {
  if (const char* reason = refuses_scheme(scheme, kPerBlock)) return reason;
  return refuses_groups(scheme, in_features);
}

std::vector<TensorSpec> block_specs(const quant::Scheme& scheme, DType, std::uint64_t out_features,
                                    std::uint64_t in_features) {
  return grid_specs("weight_scale_inv", scheme, DType::kF32, out_features, in_features);
}

std::vector<EncodedTensor> encode_block(const quant::QuantizedTensor& tensor) {
  AWQ_CHECK(tensor.scale_dtype == DType::kF32);
  return encode_grid("weight_scale_inv", tensor);
}

file::OrderedJson write_block_config(const QuantizationSummary& summary) {
  file::OrderedJson config;
  config["quant_method"] = "fp8";
  config["fmt"] = "e4m3";
  config["activation_scheme"] = "dynamic";
  config["weight_block_size"] = file::OrderedJson::array({kBlock, kBlock});
  config["modules_to_not_convert"] = summary.unquantized_linears;
  return config;
}

}  // namespace

constexpr Codec kFloatQuantizedCodec = {
    .name = "float-quantized",
    .accepts = accepts_channel,
    .read_config = read_channel_config,
    .marker_suffix = "weight_scale",
    .decode = decode_channel,
    .refuses = refuses_channel,
    .encoded_specs = channel_specs,
    .encode = encode_channel,
    .write_config = write_channel_config,
};

constexpr Codec kFp8Codec = {
    .name = "fp8",
    .accepts = accepts_block,
    .read_config = read_block_config,
    .marker_suffix = "weight_scale_inv",
    .decode = decode_block,
    .refuses = refuses_block,
    .encoded_specs = block_specs,
    .encode = encode_block,
    .write_config = write_block_config,
};

}  // namespace awq::formats
