#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace awq::model {

/// Rotary position embedding as configured. Formulas: compute_rope().
struct RopeConfig {
  enum class Kind { kDefault, kLinear, kDynamic, kLlama3, kYarn };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  std::int64_t original_max_position_embeddings = 0;  ///< dynamic, llama3, yarn
  double low_freq_factor = 1.0;                       ///< llama3
  double high_freq_factor = 4.0;                      ///< llama3
  double beta_fast = 32.0;                            ///< yarn
  double beta_slow = 1.0;                             ///< yarn
  std::optional<double> attention_factor;             ///< yarn
  std::optional<double> mscale, mscale_all_dim;       ///< yarn
  bool truncate = true;                               ///< yarn: round the correction range to whole pairs
};

/// One model as its config.json describes it; fields keep the spelling of that file.
struct ModelConfig {
  std::string architecture;  ///< class name, e.g. LlamaForCausalLM
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  ///< of o_proj
  bool mlp_bias = false;
  bool qk_norm = false;  ///< RMSNorm on each head of q and k before the rotation
  RopeConfig rope;
  /// Keys that a query of layer i sees, itself included; 0: all before it. [num_hidden_layers]
  std::vector<std::int64_t> layer_window;
  std::vector<std::int32_t> eos_token_ids;
  std::optional<std::int32_t> bos_token_id;

  std::int64_t q_width() const { return num_attention_heads * head_dim; }
  std::int64_t kv_width() const { return num_key_value_heads * head_dim; }
};

}  // namespace awq::model
