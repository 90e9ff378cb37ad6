#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "model/config.h"
#include "model/config_reader.h"

namespace awq::model {

/// The linears of a decoder layer.
enum class Role { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr std::size_t kRoles = 7;

/// A place in the layer whose activations linears read. AWQ divides these activations by a scale per channel, so
/// each site also names what produces them.
enum class Site { kAttentionInput, kAttentionOutput, kMlpInput, kMlpProduct };
inline constexpr std::size_t kSites = 4;

/// What absorbs the division at a site.
enum class Producer {
  kNorm,       ///< weight of the RMSNorm in front
  kValueRows,  ///< rows of v_proj; exact only where every query head has its own value head
  kUpRows,     ///< rows of up_proj: the product silu(gate) * up is linear in up
};

struct LinearSpec {
  Role role;
  Site input;        ///< where its activations come from
  const char* name;  ///< inside the layer: "self_attn.q_proj"
};

struct SiteSpec {
  Site site;
  Producer producer;
  const char* norm;  ///< name of the norm inside the layer for kNorm, else null
};

/// Names of the tensors outside and inside the layers, without ".weight".
struct TensorNames {
  const char* embedding;
  const char* layer_prefix;  ///< "model.layers." + index + "."
  const char* final_norm;
  const char* head;
  const char* q_norm;  ///< inside the layer; used when the config has qk_norm
  const char* k_norm;
};

/// Everything the project knows about a model family. Loader, forward pass, quantizer and inspector walk it; scale
/// groups follow from `linears` and `sites`, so that no reader of a norm can be left out.
struct Architecture {
  std::span<const char* const> names;  ///< class names in config.json "architectures"
  ModelConfig (*read_config)(const ConfigReader& in);
  TensorNames tensors;
  std::span<const LinearSpec> linears;
  std::span<const SiteSpec> sites;
};

/// All families, in archs/list.cpp.
std::span<const Architecture* const> architectures();
/// Null when no family answers to `name`.
const Architecture* find_architecture(std::string_view name);

/// Tensor names, linears and sites of the Llama family, shared by its relatives.
extern const TensorNames kLlamaTensors;
extern const std::array<LinearSpec, 7> kLlamaLinears;
extern const std::array<SiteSpec, 4> kLlamaSites;

/// [out_features, in_features] of a linear.
struct LinearShape {
  std::int64_t out_features;
  std::int64_t in_features;
};
LinearShape linear_shape(const ModelConfig& config, Role role);
bool linear_has_bias(const ModelConfig& config, Role role);
/// Channels of the activations at a site.
std::int64_t site_width(const ModelConfig& config, Site site);

}  // namespace awq::model
