#include "model/architecture.h"

#include "base/check.h"

namespace awq::model {

const TensorNames kLlamaTensors = {.embedding = "model.embed_tokens",
                                   .layer_prefix = "model.layers.",
                                   .final_norm = "model.norm",
                                   .head = "lm_head",
                                   .q_norm = "self_attn.q_norm",
                                   .k_norm = "self_attn.k_norm"};

const std::array<LinearSpec, 7> kLlamaLinears = {{
    {Role::kQ, Site::kAttentionInput, "self_attn.q_proj"},
    {Role::kK, Site::kAttentionInput, "self_attn.k_proj"},
    {Role::kV, Site::kAttentionInput, "self_attn.v_proj"},
    {Role::kO, Site::kAttentionOutput, "self_attn.o_proj"},
    {Role::kGate, Site::kMlpInput, "mlp.gate_proj"},
    {Role::kUp, Site::kMlpInput, "mlp.up_proj"},
    {Role::kDown, Site::kMlpProduct, "mlp.down_proj"},
}};

const std::array<SiteSpec, 4> kLlamaSites = {{
    {Site::kAttentionInput, Producer::kNorm, "input_layernorm"},
    {Site::kAttentionOutput, Producer::kValueRows, nullptr},
    {Site::kMlpInput, Producer::kNorm, "post_attention_layernorm"},
    {Site::kMlpProduct, Producer::kUpRows, nullptr},
}};

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture* architecture : architectures()) {
    for (const char* answer : architecture->names) {
      if (name == answer) return architecture;
    }
  }
  return nullptr;
}

LinearShape linear_shape(const ModelConfig& c, Role role) {
  switch (role) {
    case Role::kQ:
      return {c.q_width(), c.hidden_size};
    case Role::kK:
    case Role::kV:
      return {c.kv_width(), c.hidden_size};
    case Role::kO:
      return {c.hidden_size, c.q_width()};
    case Role::kGate:
    case Role::kUp:
      return {c.intermediate_size, c.hidden_size};
    case Role::kDown:
      return {c.hidden_size, c.intermediate_size};
  }
  fail(ErrorCode::kInternal, "linear_shape: no such role");
}

bool linear_has_bias(const ModelConfig& c, Role role) {
  switch (role) {
    case Role::kQ:
    case Role::kK:
    case Role::kV:
      return c.qkv_bias;
    case Role::kO:
      return c.output_bias;
    case Role::kGate:
    case Role::kUp:
    case Role::kDown:
      return c.mlp_bias;
  }
  fail(ErrorCode::kInternal, "linear_has_bias: no such role");
}

std::int64_t site_width(const ModelConfig& c, Site site) {
  switch (site) {
    case Site::kAttentionInput:
    case Site::kMlpInput:
      return c.hidden_size;
    case Site::kAttentionOutput:
      return c.q_width();
    case Site::kMlpProduct:
      return c.intermediate_size;
  }
  fail(ErrorCode::kInternal, "site_width: no such site");
}

}  // namespace awq::model
