#include <array>

#include "base/check.h"
#include "formats/codec.h"
#include "formats/codec_rows.h"
#include "formats/config_reader.h"

namespace awq::formats {
namespace {

// float-quantized is a form of compressed-tensors, and so is asked first.
constexpr std::array<const Codec*, 5> kCodecs = {&kAwqGemmCodec, &kFloatQuantizedCodec, &kCompressedTensorsCodec,
                                                 &kGptqCodec, &kFp8Codec};

}  // namespace

std::span<const Codec* const> codecs() { return kCodecs; }

const Codec* find_codec(std::string_view name) {
  for (const Codec* codec : kCodecs) {
    if (name == codec->name) return codec;
  }
  return nullptr;
}

const Codec* codec_of(const file::Json& model_config, const std::string& file_name) {
  const ConfigReader config(model_config, file_name + ": config");
  const file::Json* quantization = config.find("quantization_config");
  if (quantization == nullptr) return nullptr;
  const ConfigReader reader(*quantization, file_name + ": quantization_config");
  for (const Codec* codec : kCodecs) {
    if (codec->accepts(*quantization)) return codec;
  }
  std::string known;
  for (const Codec* codec : kCodecs) known += fmt::format("{}{}", known.empty() ? "" : ", ", codec->name);
  const std::optional<std::string> method = reader.text({"quant_method"});
  if (!method) reader.unsupported("quant_method", fmt::format("is missing; this program reads {}", known));
  reader.unsupported("quant_method",
                     fmt::format("\"{}\" cannot be read; this program reads {}", printable(*method, 40), known));
}

}  // namespace awq::formats
