// The readers of quantization_config. The input is the object itself; each codec also sees it under its own name.

#include <cstdint>
#include <cstdlib>

#include "awq/error.h"
#include "formats/codec.h"

namespace {

void check(const awq::quant::Scheme& scheme) {
  if (scheme.bits < 2 || scheme.bits > 8) std::abort();
  if (scheme.group_size != -1 && scheme.group_size <= 0) std::abort();
}

template <typename Action>
void run(Action action) {
  try {
    action();
  } catch (const awq::Error& error) {
    if (error.code() != awq::ErrorCode::kCorruptFile && error.code() != awq::ErrorCode::kUnsupported) std::abort();
  }
}

void check(const awq::formats::QuantizationInfo& info) {
  check(info.scheme);
  for (const char* module : {"model.layers.11.self_attn.q_proj", "lm_head"})
    run([&] { check(info.of(module, awq::formats::ModuleClass::kLinear).scheme); });
  run([&] { check(info.of("model.embed_tokens", awq::formats::ModuleClass::kEmbedding).scheme); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  run([&] {
    awq::file::Json model;
    model["quantization_config"] = awq::file::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    awq::file::Json& config = model["quantization_config"];
    run([&] {
      if (const auto* codec = awq::formats::codec_of(model, "fuzz")) check(codec->read_config(config, "fuzz"));
    });
    if (!config.is_object()) return;
    for (const awq::formats::Codec* codec : awq::formats::codecs()) {
      config["quant_method"] = codec->name;
      run([&] {
        if (awq::formats::codec_of(model, "fuzz") != codec) std::abort();
        check(codec->read_config(config, "fuzz"));
      });
    }
  });
  return 0;
}
