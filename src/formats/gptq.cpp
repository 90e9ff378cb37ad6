// GPTQ files, read only. Layout with a drawing, and the trouble with zero points: docs/formats/gptq.md.

#include <algorithm>
#include <array>

#include "base/check.h"
#include "formats/codec_rows.h"
#include "formats/config_reader.h"
#include "formats/packed_module.h"
#include "quant/pack_bits.h"

namespace awq::formats {
namespace {

constexpr const char* kName = "gptq";
constexpr std::uint64_t kBlockInputs = 32;  // 32 codes of b bits fill b words exactly

bool accepts(const file::Json& config) { return has_quant_method(config, kName); }

/// True for "gptq" (stored zero point = zero - 1), false for "gptq_v2" (stored as it is).
bool read_zero_offset(const ConfigReader& reader) {
  const std::string format = reader.text({"checkpoint_format", "format"}).value_or("gptq");
  if (format == "gptq") return true;
  if (format == "gptq_v2") return false;
  reader.unsupported("checkpoint_format",
                     fmt::format("\"{}\" cannot be read, only \"gptq\" and \"gptq_v2\"", printable(format, 40)));
}

QuantizationInfo read_config(const file::Json& config, const std::string& file_name) {
  const ConfigReader reader(config, file_name + ": quantization_config");
  const std::int64_t bits = reader.required_integer({"bits", "w_bit", "wbits"});
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    reader.unsupported("bits", fmt::format("found {}, expected 2, 3, 4 or 8", bits));
  }
  if (reader.text({"pack_dtype"}).value_or("int32") != "int32") {
    reader.unsupported("pack_dtype", "only \"int32\" can be read");
  }
  if (reader.boolean({"is_marlin_format"}).value_or(false)) {
    reader.unsupported("is_marlin_format", "weights in a kernel's own layout cannot be read");
  }
  // Rules "-:pattern" only leave modules in 16 bit, which their tensors show; all others give modules other schemes.
  if (const std::optional<ConfigReader> dynamic = reader.object("dynamic")) {
    for (const auto& [pattern, unused] : dynamic->json().items()) {
      if (!pattern.starts_with("-:"))
        reader.unsupported("dynamic", "modules with settings of their own cannot be read");
    }
  }
  const std::optional<bool> zero_point = reader.boolean({"zero_point"});
  QuantizationInfo info;
  info.scheme.bits = static_cast<int>(bits);
  info.scheme.group_size =
      checked_group_size(reader, "group_size", reader.required_integer({"group_size", "q_group_size"}));
  info.scheme.symmetric = reader.boolean({"sym"}).value_or(!zero_point.value_or(false));
  info.zero_offset_by_one = read_zero_offset(reader);
  info.needs_group_index = reader.boolean({"desc_act"}).value_or(false);
  info.not_converted = reader.texts({"modules_to_not_convert"});
  return info;
}

/// Codes [N, K] from words [K * bits / 32, N]: every column is a bit stream of its own.
void unpack_codes(const AlignedBuffer<std::uint32_t>& words, quant::QuantizedTensor& tensor) {
  const int bits = tensor.scheme.bits;
  const std::uint64_t outputs = tensor.out_features;
  const auto block_size = static_cast<std::size_t>(bits);
  // A thread takes whole blocks of inputs: 32 codes of a row, which are half a cache line of it.
#pragma omp parallel for schedule(static)
  for (std::uint64_t k = 0; k < tensor.in_features; k += kBlockInputs) {
    std::array<std::uint32_t, 8> block{};
    const std::span<const std::uint32_t> block_words(block.data(), block_size);
    const std::uint32_t* rows = words.data() + k / kBlockInputs * block_words.size() * outputs;
    for (std::uint64_t n = 0; n < outputs; ++n) {
      for (std::size_t i = 0; i < block_words.size(); ++i) block[i] = rows[i * outputs + n];
      quant::unpack_bits(bits, block_words, {tensor.codes.data() + n * tensor.in_features + k, kBlockInputs});
    }
  }
}

/// What the file holds for a zero point of `zero` is `zero - offset`. Returns the offset.
///
/// The label "gptq" or "gptq_v2" is sometimes wrong. Symmetric weights show what is meant: all their zero points are
/// 2^(bits-1). Where the values fit neither reading, the label counts.
unsigned zero_offset(std::span<const std::uint8_t> stored, const QuantizationInfo& info) {
  if (info.scheme.symmetric) {
    const unsigned middle = 1U << (info.scheme.bits - 1);
    const auto all_are = [&](unsigned value) {
      return std::all_of(stored.begin(), stored.end(), [value](std::uint8_t zero) { return zero == value; });
    };
    if (all_are(middle)) return 0;
    if (all_are(middle - 1)) return 1;
  }
  return info.zero_offset_by_one ? 1 : 0;
}

void read_zero_points(const PackedModule& module, const QuantizationInfo& info, quant::QuantizedTensor& tensor) {
  const int bits = info.scheme.bits;
  const std::uint64_t groups = module.groups();
  const std::uint64_t outputs = tensor.out_features;
  const std::uint64_t row_words = quant::packed_words(bits, outputs);
  const AlignedBuffer<std::uint32_t> words = module.read_words("qzeros", {groups, row_words});
  std::vector<std::uint8_t> stored(groups * outputs);
  for (std::uint64_t g = 0; g < groups; ++g) {
    quant::unpack_bits(bits, {words.data() + g * row_words, row_words}, {stored.data() + g * outputs, outputs});
  }
  const unsigned offset = zero_offset(stored, info);
  bool symmetric = true;
  for (std::uint8_t& zero : stored) {
    const unsigned value = zero + offset;  // not wrapped: a stored 15 means 16, as the kernels that read it take it
    if (value > 255) module.corrupt("qzeros", "holds the zero point 256, which no 8-bit weight can have");
    zero = static_cast<std::uint8_t>(value);
    symmetric = symmetric && value == 1U << (bits - 1);
  }
  tensor.scheme.symmetric = info.scheme.symmetric && symmetric;
  transpose(stored.data(), groups, outputs, tensor.zero_points.data());
}

quant::QuantizedTensor decode(const Checkpoint& checkpoint, const std::string& module, const QuantizationInfo& info,
                              std::uint64_t out_features, std::uint64_t in_features) {
  const PackedModule stored(checkpoint, module, info.scheme, out_features, in_features);
  if (in_features % kBlockInputs != 0 || out_features % kBlockInputs != 0) {
    stored.corrupt("qweight", fmt::format("shape [{}, {}]: the gptq format needs multiples of {}", out_features,
                                          in_features, kBlockInputs));
  }
  const AlignedBuffer<std::uint32_t> words =
      stored.read_words("qweight", {quant::packed_words(info.scheme.bits, in_features), out_features});
  quant::QuantizedTensor tensor = stored.make_tensor();
  unpack_codes(words, tensor);
  read_zero_points(stored, info, tensor);
  stored.read_scales("scales", true, tensor);
  if (info.needs_group_index || stored.find("g_idx") != nullptr) tensor.group_index = stored.read_group_index("g_idx");
  return tensor;
}

constexpr const char* kReadOnly = "the gptq format can only be read here; write awq or compressed-tensors";

const char* refuses(const quant::Scheme&, std::uint64_t, std::uint64_t) { return kReadOnly; }

std::vector<TensorSpec> encoded_specs(const quant::Scheme&, DType, std::uint64_t, std::uint64_t) {
  fail(ErrorCode::kUnsupported, "{}", kReadOnly);
}

std::vector<EncodedTensor> encode(const quant::QuantizedTensor&) { fail(ErrorCode::kUnsupported, "{}", kReadOnly); }

file::OrderedJson write_config(const QuantizationSummary&) { fail(ErrorCode::kUnsupported, "{}", kReadOnly); }

}  // namespace

constexpr Codec kGptqCodec = {
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
