// compressed-tensors "pack-quantized" files. Layout with a drawing: docs/formats/compressed-tensors.md.

#include <algorithm>
#include <array>

#include "base/check.h"
#include "formats/codec_rows.h"
#include "formats/config_reader.h"
#include "formats/name_pattern.h"
#include "formats/packed_module.h"
#include "quant/pack_bits.h"

namespace awq::formats {
namespace {

constexpr const char* kName = "compressed-tensors";
constexpr const char* kFormat = "pack-quantized";
constexpr std::string_view kPatternMark = "re:";

bool accepts(const file::Json& config) { return has_quant_method(config, kName); }

void check_format(const ConfigReader& place) {
  const std::optional<std::string> format = place.text({"format"});
  if (format && *format != kFormat) {
    place.unsupported("format", fmt::format("\"{}\" cannot be read, only \"{}\"", printable(*format, 40), kFormat));
  }
}

/// Refuses settings that change what the stored weights mean.
void check_plain(const ConfigReader& reader) {
  check_format(reader);
  for (const char* key : {"sparsity_config", "transform_config"}) {
    const std::optional<ConfigReader> extra = reader.object(key);
    if (!extra || extra->json().empty()) continue;
    if (extra->text({"format"}) == "dense") continue;  // how older writers say that nothing is sparse
    reader.unsupported(key, "sparse or transformed weights cannot be read");
  }
}

std::int64_t read_group_size(const ConfigReader& weights) {
  const std::optional<std::string> strategy = weights.text({"strategy"});
  const std::optional<std::int64_t> group_size = weights.integer({"group_size"});
  if (strategy == "group" || (!strategy && group_size)) {
    return checked_group_size(weights, "group_size", weights.required_integer({"group_size"}));
  }
  if (!strategy) weights.corrupt("strategy", "is missing");
  if (*strategy != "channel") {
    weights.unsupported("strategy",
                        fmt::format("\"{}\" cannot be read, only \"group\" and \"channel\"", printable(*strategy, 40)));
  }
  if (group_size && *group_size != -1) weights.corrupt("group_size", "contradicts the strategy \"channel\"");
  return -1;
}

/// True when the groups follow the order in which the columns were quantized and weight_g_idx tells which is where.
bool reads_group_index(const ConfigReader& weights) {
  const file::Json* value = weights.find("actorder");
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  const std::string order = weights.text({"actorder"}).value_or("");
  if (order == "group" || order == "dynamic") return true;
  if (order == "weight" || order == "static") return false;  // the order was undone before the weights were stored
  weights.unsupported("actorder", fmt::format("\"{}\" cannot be read", printable(order, 40)));
}

TargetGroup read_group(const ConfigReader& group) {
  check_format(group);
  for (const char* key : {"input_activations", "output_activations"}) {
    if (group.find(key) != nullptr) group.unsupported(key, "quantized activations cannot be read, only weights");
  }
  TargetGroup out;
  out.targets = group.texts({"targets"});
  if (out.targets.empty()) group.corrupt("targets", "is missing or empty");
  for (const std::string& target : out.targets) {
    if (!target.starts_with(kPatternMark)) continue;
    try {
      NamePattern(target.substr(kPatternMark.size()));
    } catch (const Error& error) {
      group.unsupported("targets", error.what());
    }
  }
  const std::optional<ConfigReader> weights = group.object("weights");
  if (!weights) group.corrupt("weights", "is missing");
  if (weights->text({"type"}).value_or("int") != "int") weights->unsupported("type", "only \"int\" can be read");
  if (weights->boolean({"dynamic"}).value_or(false)) weights->corrupt("dynamic", "weights cannot be dynamic");
  const std::int64_t bits = weights->required_integer({"num_bits"});
  if (bits < 2 || bits > 8) weights->unsupported("num_bits", fmt::format("found {}, expected 2 to 8", bits));

  out.scheme.bits = static_cast<int>(bits);
  out.scheme.group_size = read_group_size(*weights);
  out.scheme.symmetric = weights->boolean({"symmetric"}).value_or(true);
  out.needs_group_index = reads_group_index(*weights);
  return out;
}

QuantizationInfo read_config(const file::Json& config, const std::string& file_name) {
  const ConfigReader reader(config, file_name + ": quantization_config");
  const std::optional<ConfigReader> groups = reader.object("config_groups");
  if (!groups) reader.corrupt("config_groups", "is missing");
  if (groups->json().empty()) reader.corrupt("config_groups", "is empty");
  check_plain(reader);
  QuantizationInfo info;
  for (const auto& [name, value] : groups->json().items()) {
    const std::optional<ConfigReader> group = groups->object(name.c_str());
    if (!group) groups->corrupt(printable(name, 40).c_str(), "is null");
    info.groups.push_back(read_group(*group));
  }
  info.scheme = info.groups.front().scheme;
  info.needs_group_index = info.groups.front().needs_group_index;
  info.not_converted = reader.texts({"ignore"});
  return info;
}

const char* refuses(const quant::Scheme& scheme, std::uint64_t out_features, std::uint64_t in_features) {
  if (scheme.kind != quant::CodeKind::kInteger) return "this form of compressed-tensors stores integers only";
  if (scheme.bits < 2 || scheme.bits > 8) return "the compressed-tensors format stores 2 to 8 bits";
  if (out_features == 0) return "out_features is 0";
  return refuses_groups(scheme, in_features);
}

/// Zero points [N, G] from words [ceil(N * bits / 32), G]: every column is a bit stream of its own.
void unpack_zero_points(std::span<const std::uint32_t> words, quant::QuantizedTensor& tensor) {
  const std::uint64_t groups = tensor.groups();
  const std::uint64_t outputs = tensor.out_features;
  std::vector<std::uint32_t> column(quant::packed_words(tensor.scheme.bits, outputs));
  std::vector<std::uint8_t> zero_points(outputs);
  for (std::uint64_t g = 0; g < groups; ++g) {
    for (std::uint64_t i = 0; i < column.size(); ++i) column[i] = words[i * groups + g];
    quant::unpack_bits(tensor.scheme.bits, column, zero_points);
    for (std::uint64_t n = 0; n < outputs; ++n) tensor.zero_points[n * groups + g] = zero_points[n];
  }
}

std::vector<std::uint32_t> pack_zero_points(const quant::QuantizedTensor& tensor) {
  const std::uint64_t groups = tensor.groups();
  const std::uint64_t outputs = tensor.out_features;
  std::vector<std::uint32_t> column(quant::packed_words(tensor.scheme.bits, outputs));
  std::vector<std::uint32_t> words(column.size() * groups);
  std::vector<std::uint8_t> zero_points(outputs);
  for (std::uint64_t g = 0; g < groups; ++g) {
    for (std::uint64_t n = 0; n < outputs; ++n) zero_points[n] = tensor.zero_points[n * groups + g];
    quant::pack_bits(tensor.scheme.bits, zero_points, column);
    for (std::uint64_t i = 0; i < column.size(); ++i) words[i * groups + g] = column[i];
  }
  return words;
}

void check_weight_shape(const PackedModule& stored, const Checkpoint& checkpoint, std::uint64_t out_features,
                        std::uint64_t in_features) {
  std::array<std::uint64_t, 2> shape{};
  checkpoint.read(stored.expect("weight_shape", {DType::kI64}, {2}), std::as_writable_bytes(std::span(shape)));
  if (shape[0] != out_features || shape[1] != in_features) {
    stored.corrupt("weight_shape",
                   fmt::format("holds {}, expected [{}, {}]", shape_string(shape), out_features, in_features));
  }
}

quant::QuantizedTensor decode(const Checkpoint& checkpoint, const std::string& module, const QuantizationInfo& info,
                              std::uint64_t out_features, std::uint64_t in_features) {
  const PackedModule stored(checkpoint, module, info.scheme, out_features, in_features);
  const int bits = info.scheme.bits;
  check_weight_shape(stored, checkpoint, out_features, in_features);
  const std::uint64_t row_words = quant::packed_words(bits, in_features);
  const AlignedBuffer<std::uint32_t> words = stored.read_words("weight_packed", {out_features, row_words});
  quant::QuantizedTensor tensor = stored.make_tensor();
#pragma omp parallel for schedule(static)
  for (std::uint64_t n = 0; n < out_features; ++n) {
    quant::unpack_bits(bits, {words.data() + n * row_words, row_words},
                       {tensor.codes.data() + n * in_features, in_features});
  }
  if (info.scheme.symmetric) {
    std::fill(tensor.zero_points.begin(), tensor.zero_points.end(), static_cast<std::uint8_t>(1U << (bits - 1)));
  } else {
    const std::uint64_t column_words = quant::packed_words(bits, out_features);
    unpack_zero_points(stored.read_words("weight_zero_point", {column_words, stored.groups()}).span(), tensor);
  }
  stored.read_scales("weight_scale", false, tensor);
  if (info.needs_group_index) tensor.group_index = stored.read_group_index("weight_g_idx");
  return tensor;
}

std::vector<TensorSpec> encoded_specs(const quant::Scheme& scheme, DType scale_dtype, std::uint64_t out_features,
                                      std::uint64_t in_features) {
  AWQ_CHECK(refuses(scheme, out_features, in_features) == nullptr);
  const std::uint64_t groups = in_features / quant::resolved_group_size(scheme, in_features);
  std::vector<TensorSpec> specs = {
      {"weight_packed", DType::kI32, {out_features, quant::packed_words(scheme.bits, in_features)}},
      {"weight_scale", scale_dtype, {out_features, groups}},
      {"weight_shape", DType::kI64, {2}}};
  if (!scheme.symmetric) {
    specs.push_back({"weight_zero_point", DType::kI32, {quant::packed_words(scheme.bits, out_features), groups}});
  }
  return specs;
}

std::vector<EncodedTensor> encode(const quant::QuantizedTensor& tensor) {
  AWQ_CHECK(refuses(tensor.scheme, tensor.out_features, tensor.in_features) == nullptr);
  check_encodable(tensor, kName);
  const int bits = tensor.scheme.bits;
  const std::uint64_t inputs = tensor.in_features;
  const std::uint64_t row_words = quant::packed_words(bits, inputs);
  AlignedBuffer<std::uint32_t> words(tensor.out_features * row_words);
  for (std::uint64_t n = 0; n < tensor.out_features; ++n) {
    quant::pack_bits(bits, {tensor.codes.data() + n * inputs, inputs}, {words.data() + n * row_words, row_words});
  }
  EncodedTensor shape{"weight_shape", DType::kI64, {2}, {}};
  const std::array<std::uint64_t, 2> extents = {tensor.out_features, inputs};
  const std::span<const std::byte> extent_bytes = std::as_bytes(std::span(extents));
  shape.bytes.assign(extent_bytes.begin(), extent_bytes.end());

  std::vector<EncodedTensor> encoded;
  encoded.push_back(encode_words("weight_packed", {tensor.out_features, row_words}, words.span()));
  encoded.push_back(encode_scales("weight_scale", tensor, false));
  encoded.push_back(std::move(shape));
  if (!tensor.scheme.symmetric) {
    encoded.push_back(encode_words("weight_zero_point",
                                   {quant::packed_words(bits, tensor.out_features), tensor.groups()},
                                   pack_zero_points(tensor)));
  }
  return encoded;
}

// Only keys that every release of the library knows: servers with an older one refuse a file with a new key, even when
// its value is null (scale_dtype and zp_dtype did that).
file::OrderedJson group_json(const quant::Scheme& scheme, const std::vector<std::string>& targets) {
  const bool one_group = scheme.group_size < 0;
  file::OrderedJson weights;
  weights["num_bits"] = scheme.bits;
  weights["type"] = "int";
  weights["symmetric"] = scheme.symmetric;
  weights["strategy"] = one_group ? "channel" : "group";
  weights["group_size"] = one_group ? file::OrderedJson(nullptr) : file::OrderedJson(scheme.group_size);
  weights["dynamic"] = false;
  weights["actorder"] = nullptr;
  weights["block_structure"] = nullptr;
  weights["observer"] = "minmax";
  weights["observer_kwargs"] = file::OrderedJson::object();

  file::OrderedJson group;
  group["targets"] = targets;
  group["weights"] = std::move(weights);
  group["input_activations"] = nullptr;
  group["output_activations"] = nullptr;
  return group;
}

file::OrderedJson write_config(const QuantizationSummary& summary) {
  // A server asks for the class of a fused linear (qkv) before it asks for the names of its parts: where linears
  // differ, all of them go by name, or the class would win.
  const bool by_class = summary.other_linears.empty();
  file::OrderedJson groups;
  const auto add = [&](const quant::Scheme& scheme, const std::vector<std::string>& targets) {
    groups[fmt::format("group_{}", groups.size())] = group_json(scheme, targets);
  };
  add(summary.scheme, by_class ? std::vector<std::string>{"Linear"} : summary.quantized_modules);
  for (const SchemeGroup& group : summary.other_linears) add(group.scheme, group.modules);
  for (const SchemeGroup& group : summary.vocabulary) add(group.scheme, group.modules);

  file::OrderedJson config;
  config["quant_method"] = kName;
  config["format"] = kFormat;
  config["quantization_status"] = "compressed";
  config["config_groups"] = std::move(groups);
  config["ignore"] = summary.unquantized_linears;
  config["global_compression_ratio"] = nullptr;
  config["kv_cache_scheme"] = nullptr;
  return config;
}

}  // namespace

constexpr Codec kCompressedTensorsCodec = {
    .name = kName,
    .accepts = accepts,
    .read_config = read_config,
    .marker_suffix = "weight_packed",
    .decode = decode,
    .refuses = refuses,
    .encoded_specs = encoded_specs,
    .encode = encode,
    .write_config = write_config,
    .several_schemes = true,
};

}  // namespace awq::formats
