#include <algorithm>

#include "model/archs/archs.h"

namespace awq::model {
namespace {

ModelConfig read(const ConfigReader& in) {
  ModelConfig defaults;
  defaults.max_position_embeddings = 131072;
  defaults.num_key_value_heads = 8;
  ModelConfig config = read_llama_like(in, defaults);
  // The class default is a window of 4096; null switches it off.
  const std::int64_t window =
      in.is_null("sliding_window") ? 0 : in.size_or("sliding_window", 4096, std::int64_t{1} << 31);
  std::fill(config.layer_window.begin(), config.layer_window.end(), window);
  return config;
}

constexpr const char* kNames[] = {"MistralForCausalLM"};

}  // namespace

const Architecture kMistral = {kNames, read, kLlamaTensors, kLlamaLinears, kLlamaSites};

}  // namespace awq::model
