#include "model/archs/archs.h"
#include "model/archs/qwen_window.h"

namespace awq::model {
namespace {

ModelConfig read(const ConfigReader& in) {
  ModelConfig defaults;
  defaults.max_position_embeddings = 32768;
  defaults.num_key_value_heads = 32;
  defaults.head_dim = 128;
  ModelConfig config = read_llama_like(in, defaults);
  config.qkv_bias = config.output_bias = in.bool_or("attention_bias", false);
  config.qk_norm = true;
  config.layer_window = read_qwen_windows(in, config);
  return config;
}

constexpr const char* kNames[] = {"Qwen3ForCausalLM"};

}  // namespace

const Architecture kQwen3 = {kNames, read, kLlamaTensors, kLlamaLinears, kLlamaSites};

}  // namespace awq::model
