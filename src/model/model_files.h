#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "file/json.h"
#include "formats/checkpoint.h"
#include "formats/codec.h"
#include "model/architecture.h"
#include "model/config.h"
#include "ops/linear.h"

namespace awq::model {

/// Weights of one linear as they are stored: either a canonical quantized tensor or 16/32-bit numbers.
struct LinearWeights {
  std::uint64_t out_features = 0;
  std::uint64_t in_features = 0;
  std::optional<quant::QuantizedTensor> quantized;
  DType dtype = DType::kF32;       ///< of `dense`
  AlignedBuffer<std::byte> dense;  ///< [out, in], empty when quantized
  AlignedBuffer<float> bias;       ///< [out] or empty

  /// All weights as floats, [out, in].
  AlignedBuffer<float> to_floats() const;
  /// The layer that computes with these weights; consumes them.
  /// Packed codes lie in memory of `arena` where there is one.
  ops::Linear into_linear(PageArena* arena = nullptr) &&;
};

/// One decoder layer's weights.
struct LayerWeights {
  std::array<LinearWeights, kRoles> linears;  ///< by Role
  AlignedBuffer<float> input_norm, mlp_norm;  ///< [hidden_size]; norms of kAttentionInput and kMlpInput
  AlignedBuffer<float> q_norm, k_norm;        ///< [head_dim] or empty

  LinearWeights& operator[](Role role) { return linears[static_cast<std::size_t>(role)]; }
  const LinearWeights& operator[](Role role) const { return linears[static_cast<std::size_t>(role)]; }
};

/// Where a forward pass gets its weights from, layer by layer. Implementations are read-only and thread safe.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& config() const = 0;
  virtual const Architecture& architecture() const = 0;
  virtual LayerWeights load_layer(std::int64_t layer) const = 0;
  /// Rows of the embedding for `ids`, as floats [ids.size(), hidden_size].
  virtual void embed(std::span<const std::int32_t> ids, float* out) const = 0;
  virtual AlignedBuffer<float> load_final_norm() const = 0;
  /// The output matrix [vocab_size, hidden_size] (the embedding when tied), with its bias if it has one.
  virtual LinearWeights load_head() const = 0;
  /// The embedding [vocab_size, hidden_size] as stored; no rows where the head serves as the embedding.
  virtual LinearWeights load_embedding() const = 0;
};

/// A model folder, opened and checked: configuration against tensors, dtypes and shapes, before any weight is read.
class ModelFiles : public WeightSource {
 public:
  /// Throws kNotFound, kCorruptFile, kUnsupported.
  static ModelFiles open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const file::OrderedJson& config_json() const { return config_json_; }
  const formats::Checkpoint& checkpoint() const { return checkpoint_; }
  /// The stored format of the quantized linears, null for an unquantized model.
  const formats::Codec* codec() const { return codec_; }
  const formats::QuantizationInfo& quantization() const { return quantization_; }
  /// How a quantized module is stored. Throws kCorruptFile when the configuration does not say.
  quant::Scheme scheme_of(const std::string& module) const;
  const ModelConfig& config() const override { return config_; }
  const Architecture& architecture() const override { return *architecture_; }

  /// "model.layers.3.self_attn.q_proj"
  std::string linear_name(std::int64_t layer, const LinearSpec& linear) const;
  std::string layer_name(std::int64_t layer, const char* inner) const;
  bool is_quantized(const std::string& module) const;
  /// Module of the stored output matrix: the head, or the embedding when there is no head of its own.
  std::string head_module() const;
  std::string embedding_module() const;
  /// The same as tensors; without quantization these are what is stored.
  std::string head_tensor() const { return head_module() + ".weight"; }
  std::string embedding_tensor() const { return embedding_module() + ".weight"; }
  /// Type of the model's 16-bit weights: that of the embedding, or of the final norm where the embedding is quantized.
  DType dtype() const;
  /// Parameters, with each packed weight counted as one and tied tensors once.
  std::uint64_t parameter_count() const;

  LayerWeights load_layer(std::int64_t layer) const override;
  void embed(std::span<const std::int32_t> ids, float* out) const override;
  AlignedBuffer<float> load_final_norm() const override;
  LinearWeights load_head() const override;
  LinearWeights load_embedding() const override;

 private:
  ModelFiles(std::filesystem::path folder, formats::Checkpoint checkpoint)
      : folder_(std::move(folder)), checkpoint_(std::move(checkpoint)) {}
  void check_tensors() const;
  void check_vector(const std::string& tensor, std::int64_t width) const;
  void check_matrix(const std::string& tensor, std::int64_t rows, std::int64_t columns) const;
  AlignedBuffer<float> load_vector(const std::string& tensor) const;
  bool is_stored(const std::string& module) const;
  formats::QuantizationInfo info_of(const std::string& module) const;
  LinearWeights load_linear(const std::string& module, LinearShape shape, bool has_bias) const;

  std::filesystem::path folder_;
  file::OrderedJson config_json_;
  formats::Checkpoint checkpoint_;
  ModelConfig config_;
  const Architecture* architecture_ = nullptr;
  const formats::Codec* codec_ = nullptr;
  formats::QuantizationInfo quantization_;
};

/// A configuration without its tensors. Throws kNotFound, kCorruptFile, kUnsupported.
struct ConfigFile {
  ModelConfig config;
  const Architecture* architecture = nullptr;
};
ConfigFile read_config_file(const std::filesystem::path& path);

/// The NaN or infinite weight nearest to the start of a tensor ends the work here, named, instead of as a wrong result
/// hours later. `first` is the number of values[0] within the tensor. Throws kCorruptFile.
void check_finite(std::span<const float> values, const std::string& tensor, std::uint64_t first = 0);
/// The same for weights as they are stored; quantized ones are finite when their scales are.
void check_finite(const LinearWeights& weights, const std::string& tensor);

}  // namespace awq::model
