#include "model/archs/archs.h"

namespace awq::model {
namespace {

ModelConfig read(const ConfigReader& in) {
  ModelConfig defaults;
  defaults.max_position_embeddings = 2048;
  ModelConfig config = read_llama_like(in, defaults);
  config.qkv_bias = config.output_bias = in.bool_or("attention_bias", false);
  config.mlp_bias = in.bool_or("mlp_bias", false);
  return config;
}

constexpr const char* kNames[] = {"LlamaForCausalLM", "LLaMAForCausalLM"};

}  // namespace

const Architecture kLlama = {kNames, read, kLlamaTensors, kLlamaLinears, kLlamaSites};

}  // namespace awq::model
