// AutoAWQ's "gemm" files. Layout with a drawing: docs/formats/awq-gemm.md.

#include <algorithm>
#include <array>
#include <cctype>

#include "base/check.h"
#include "formats/codec_rows.h"
#include "formats/config_reader.h"
#include "formats/packed_module.h"
#include "quant/pack_bits.h"

namespace awq::formats {
namespace {

constexpr const char* kName = "awq";
constexpr int kBits = 4;
constexpr std::uint64_t kChannelsPerWord = 8;
constexpr std::uint8_t kSymmetricZero = 8;

// Codes lie transposed in the file. Tiles of this size keep both sides of the transposition in the L1 cache.
constexpr std::uint64_t kTileInputs = 64;
constexpr std::uint64_t kTileWords = 16;
constexpr std::uint64_t kTileOutputs = kTileWords * kChannelsPerWord;
using Tile = std::array<std::uint8_t, kTileInputs * kTileOutputs>;

bool accepts(const file::Json& config) { return has_quant_method(config, kName); }

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

QuantizationInfo read_config(const file::Json& config, const std::string& file_name) {
  const ConfigReader reader(config, file_name + ": quantization_config");
  const std::int64_t bits = reader.required_integer({"bits", "w_bit"});
  if (bits != kBits) reader.unsupported("bits", fmt::format("found {}, the awq format has 4 only", bits));
  for (const char* key : {"version", "format", "checkpoint_format"}) {
    const std::optional<std::string> layout = reader.text({key});
    if (layout && lower(*layout) != "gemm") {
      reader.unsupported(key, fmt::format("the layout \"{}\" cannot be read, only \"gemm\"", printable(*layout, 40)));
    }
  }
  QuantizationInfo info;
  info.scheme.bits = kBits;
  info.scheme.group_size =
      checked_group_size(reader, "group_size", reader.required_integer({"group_size", "q_group_size"}));
  info.scheme.symmetric = !reader.boolean({"zero_point"}).value_or(true);
  info.not_converted = reader.texts({"modules_to_not_convert"});
  return info;
}

const char* refuses(const quant::Scheme& scheme, std::uint64_t out_features, std::uint64_t in_features) {
  if (scheme.bits != kBits) return "the awq format stores 4 bits only";
  if (out_features == 0 || out_features % kChannelsPerWord != 0) return "out_features is not a multiple of 8";
  return refuses_groups(scheme, in_features);
}

/// Codes [N, K] from words [K, N / 8].
void unpack_codes(const AlignedBuffer<std::uint32_t>& words, quant::QuantizedTensor& tensor) {
  const std::uint64_t inputs = tensor.in_features;
  const std::uint64_t row_words = tensor.out_features / kChannelsPerWord;
#pragma omp parallel for schedule(static)
  for (std::uint64_t word = 0; word < row_words; word += kTileWords) {
    Tile tile;
    const std::uint64_t word_count = std::min(kTileWords, row_words - word);
    const std::uint64_t outputs = word_count * kChannelsPerWord;
    for (std::uint64_t k = 0; k < inputs; k += kTileInputs) {
      const std::uint64_t input_count = std::min(kTileInputs, inputs - k);
      for (std::uint64_t i = 0; i < input_count; ++i) {
        quant::unpack_awq({words.data() + (k + i) * row_words + word, word_count},
                          {tile.data() + i * outputs, outputs});
      }
      for (std::uint64_t n = 0; n < outputs; ++n) {
        std::uint8_t* to = tensor.codes.data() + (word * kChannelsPerWord + n) * inputs + k;
        for (std::uint64_t i = 0; i < input_count; ++i) to[i] = tile[i * outputs + n];
      }
    }
  }
}

void pack_codes(const quant::QuantizedTensor& tensor, AlignedBuffer<std::uint32_t>& words) {
  const std::uint64_t inputs = tensor.in_features;
  const std::uint64_t row_words = tensor.out_features / kChannelsPerWord;
  Tile tile;
  for (std::uint64_t word = 0; word < row_words; word += kTileWords) {
    const std::uint64_t word_count = std::min(kTileWords, row_words - word);
    const std::uint64_t outputs = word_count * kChannelsPerWord;
    for (std::uint64_t k = 0; k < inputs; k += kTileInputs) {
      const std::uint64_t input_count = std::min(kTileInputs, inputs - k);
      for (std::uint64_t n = 0; n < outputs; ++n) {
        const std::uint8_t* from = tensor.codes.data() + (word * kChannelsPerWord + n) * inputs + k;
        for (std::uint64_t i = 0; i < input_count; ++i) tile[i * outputs + n] = from[i];
      }
      for (std::uint64_t i = 0; i < input_count; ++i) {
        quant::pack_awq({tile.data() + i * outputs, outputs}, {words.data() + (k + i) * row_words + word, word_count});
      }
    }
  }
}

quant::QuantizedTensor decode(const Checkpoint& checkpoint, const std::string& module, const QuantizationInfo& info,
                              std::uint64_t out_features, std::uint64_t in_features) {
  const PackedModule stored(checkpoint, module, info.scheme, out_features, in_features);
  if (const char* reason = refuses(info.scheme, out_features, in_features)) {
    stored.corrupt("qweight", fmt::format("shape [{}, {}]: {}", out_features, in_features, reason));
  }
  const std::uint64_t row_words = out_features / kChannelsPerWord;
  const std::uint64_t groups = stored.groups();
  const AlignedBuffer<std::uint32_t> weight_words = stored.read_words("qweight", {in_features, row_words});
  quant::QuantizedTensor tensor = stored.make_tensor();
  unpack_codes(weight_words, tensor);

  const AlignedBuffer<std::uint32_t> zero_words = stored.read_words("qzeros", {groups, row_words});
  AlignedBuffer<std::uint8_t> zero_points(groups * out_features);
  quant::unpack_awq(zero_words.span(), zero_points.span());
  transpose(zero_points.data(), groups, out_features, tensor.zero_points.data());
  if (info.scheme.symmetric) {
    for (const std::uint8_t zero_point : zero_points) {
      if (zero_point != kSymmetricZero) {
        stored.corrupt(
            "qzeros", fmt::format("holds the zero point {}, but zero_point is false in the configuration", zero_point));
      }
    }
  }
  stored.read_scales("scales", true, tensor);
  return tensor;
}

std::vector<TensorSpec> encoded_specs(const quant::Scheme& scheme, DType scale_dtype, std::uint64_t out_features,
                                      std::uint64_t in_features) {
  AWQ_CHECK(refuses(scheme, out_features, in_features) == nullptr);
  const std::uint64_t groups = in_features / quant::resolved_group_size(scheme, in_features);
  const std::uint64_t row_words = out_features / kChannelsPerWord;
  return {{"qweight", DType::kI32, {in_features, row_words}},
          {"qzeros", DType::kI32, {groups, row_words}},
          {"scales", scale_dtype, {groups, out_features}}};
}

std::vector<EncodedTensor> encode(const quant::QuantizedTensor& tensor) {
  AWQ_CHECK(refuses(tensor.scheme, tensor.out_features, tensor.in_features) == nullptr);
  check_encodable(tensor, kName);
  const std::uint64_t groups = tensor.groups();
  const std::uint64_t row_words = tensor.out_features / kChannelsPerWord;
  AlignedBuffer<std::uint32_t> weight_words(tensor.in_features * row_words);
  pack_codes(tensor, weight_words);
  std::vector<std::uint8_t> zero_points(tensor.zero_points.size());
  transpose(tensor.zero_points.data(), tensor.out_features, groups, zero_points.data());
  std::vector<std::uint32_t> zero_words(groups * row_words);
  quant::pack_awq(zero_points, zero_words);

  std::vector<EncodedTensor> encoded;
  encoded.push_back(encode_words("qweight", {tensor.in_features, row_words}, weight_words.span()));
  encoded.push_back(encode_words("qzeros", {groups, row_words}, zero_words));
  encoded.push_back(encode_scales("scales", tensor, true));
  return encoded;
}

file::OrderedJson write_config(const QuantizationSummary& summary) {
  // Servers skip a module when an entry occurs anywhere in its name. Full names keep layer 1 apart from layer 11, but
  // "mlp.gate" would still switch off "mlp.gate_proj": such a model cannot be described in this format.
  for (const std::string& entry : summary.unquantized_linears) {
    for (const std::string& module : summary.quantized_modules) {
      if (module.find(entry) != std::string::npos) {
        fail(ErrorCode::kUnsupported,
             "the awq format cannot keep \"{}\" in 16 bit while \"{}\" is quantized, because it names modules by "
             "parts of their names; use compressed-tensors",
             printable(entry), printable(module));
      }
    }
  }
  file::OrderedJson config;
  config["quant_method"] = kName;
  config["bits"] = summary.scheme.bits;
  config["group_size"] = summary.scheme.group_size;
  // True for symmetric weights too: their zero points are stored as 8, and the servers' fast kernels want them.
  config["zero_point"] = true;
  config["version"] = "gemm";
  if (summary.unquantized_linears.empty()) {
    config["modules_to_not_convert"] = nullptr;
  } else {
    config["modules_to_not_convert"] = summary.unquantized_linears;
  }
  return config;
}

}  // namespace

constexpr Codec kAwqGemmCodec = {
    .name = kName,
    .accepts = accepts,
    .read_config = read_config,
    .marker_suffix = "qweight",
    .decode = decode,
    .refuses = refuses,
    .encoded_specs = encoded_specs,
    .encode = encode,
    .write_config = write_config,
};

}  // namespace awq::formats
