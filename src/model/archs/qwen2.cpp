#include "model/archs/archs.h"
#include "model/archs/qwen_window.h"

namespace awq::model {
namespace {

ModelConfig read(const ConfigReader& in) {
  ModelConfig defaults;
  defaults.max_position_embeddings = 32768;
  defaults.num_key_value_heads = 32;
  ModelConfig config = read_llama_like(in, defaults);
  config.qkv_bias = true;  // always on, and no key says so
  config.layer_window = read_qwen_windows(in, config);
  return config;
}

constexpr const char* kNames[] = {"Qwen2ForCausalLM"};

}  // namespace

const Architecture kQwen2 = {kNames, read, kLlamaTensors, kLlamaLinears, kLlamaSites};

}  // namespace awq::model
