#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu/linear.h"
#include "kernels/api/cuda_chain.h"
#include "kernels/api/cuda_token.h"
#include "ops/kv_dtype.h"

namespace awq::gpu {

/// False where the environment says AWQ_CUDA_OVERLAP=0.
bool overlap_by_environment();
/// What the environment says by AWQ_CUDA_FUSE=0 or 1.
std::optional<bool> fuse_by_environment();

inline constexpr std::int64_t kFusedTokens = 8;  ///< ModelOptions::fuse

struct ModelOptions {
  /// What activations are computed in; without a value the type of the embedding, and where that is F32 `f32_as`.
  std::optional<Half> type;
  Half f32_as = Half::kBf16;
  /// Of cached keys and values: the type of activations, which is what nullopt stands for, int8 or fp8.
  std::optional<ops::KvDtype> kv_dtype = std::nullopt;
  /// Many tokens go through 4-bit linears by way of a panel where that pays (kernels::cuda::w4_panel_pays): faster, and
  /// a row then depends on how many there are.
  bool fast_linears = false;
  std::int64_t fast_from = 0;  ///< with fast_linears: as many tokens at least, whether it pays or not; 0: where it pays
  /// All layers are copies of the first one: for measurements with random weights.
  bool repeat_first_layer = false;
  /// Kernels may start while the one before them ends (kernels::cuda::allow_overlap).
  bool overlap = overlap_by_environment();
  /// Steps of decoding take two launches a layer: rotation with attention (rotate_and_attend()), and for few tokens all
  /// linears up to the next attention (cuda_chain.h). nullopt: for up to kFusedTokens where chains pay, which is as far
  /// as it is measured.
  std::optional<bool> fuse = fuse_by_environment();
};

/// Bounds of the batches that scratch memory is laid out for.
struct BatchLimits {
  std::int64_t tokens = 0;     ///< of one batch
  std::int64_t sequences = 0;  ///< of one batch
  std::int64_t length = 0;     ///< past and new tokens of a sequence
  std::int64_t rows = 0;       ///< of logits at a time
};

/// How a device whose activations are of `type` keeps keys and values that shall be of `wanted`. Throws
/// kInvalidArgument for what it does not keep.
kernels::cuda::CacheType cache_type(std::optional<ops::KvDtype> wanted, Half type);

/// Scratch memory of a forward pass, in an arena.
struct Activations {
  float* hidden = nullptr;        ///< [tokens, hidden_size]
  std::byte* normed = nullptr;    ///< half, as all up to `last`
  std::byte* qkv = nullptr;       ///< [tokens, q_width + 2 kv_width]
  std::byte* attended = nullptr;  ///< [tokens, q_width]
  std::byte* branch = nullptr;    ///< [tokens, hidden_size]
  std::byte* gate_up = nullptr;   ///< [tokens, 2 intermediate_size]
  std::byte* product = nullptr;   ///< [tokens, intermediate_size]
  std::byte* last = nullptr;      ///< [rows, hidden_size]
  float* results = nullptr;       ///< [tokens, hidden_size] of tokens with results, where others have none
  float* logits = nullptr;        ///< [rows, vocab_size]
  std::byte* linear_workspace = nullptr;
  std::byte* panel = nullptr;  ///< of the largest linear that is expanded; null where none is
  std::byte* attention_workspace = nullptr;
  std::byte* chain_workspace = nullptr;  ///< zero before the first pass
};

/// Tokens of a batch whose hidden states somebody reads, rising.
struct Results {
  const std::int32_t* rows = nullptr;  ///< [count] on the device; null: all tokens
  std::int64_t count = 0;
};

/// Keys and values of all layers: layer i at data + i * layer_bytes.
struct KvPool {
  std::byte* data = nullptr;
  std::uint64_t layer_bytes = 0;
};

/// A model resident on the device. Its functions enqueue; none of them allocates or waits.
class Model {
 public:
  /// Loads layer by layer. Throws kOutOfMemory where the device is too small, kUnsupported for what its kernels cannot
  /// do, kInvalidArgument for a type of keys and values that it does not keep.
  Model(const model::WeightSource& source, const ModelOptions& options);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const model::ModelConfig& config() const { return config_; }
  Half type() const { return type_; }
  /// Type of cached keys and values.
  ops::KvDtype kv_dtype() const;
  /// True when all linears of the layers run from packed codes: then a row does not depend on the batch, unless
  /// ModelOptions::fast_linears is set.
  bool quantized() const { return quantized_; }
  /// Names of the kernels that the linears of the layers run for `m` tokens, each once.
  std::vector<std::string> linear_kernels(std::int64_t m) const;
  /// Batches of up to so many tokens run chains of linears; 0: none does.
  std::int64_t chained_tokens() const { return chained_tokens_; }
  /// Bytes of weights that one token reads, the head included.
  std::uint64_t bytes_per_token() const;
  /// 2 N K of the linears of the layers; of those among them that tokens without results leave out; of the head.
  double layer_operations() const;
  double result_operations() const;
  double head_operations() const;
  /// Bytes of one block of keys and values in one layer.
  std::uint64_t kv_block_bytes() const;

  /// Takes what batches within `limits` need from `arena`.
  Activations lay_out(const BatchLimits& limits, device::Arena& arena) const;
  /// Uploads the rotary angles of `positions` positions and opens the library that 16-bit weights and panels need.
  void prepare(std::int64_t positions);
  /// All layers over a batch; ids [batch.tokens] on the device. Of tokens without results the last layer computes keys
  /// and values alone. Returns the hidden states, a row for each result.
  const float* forward(const Activations& work, const std::int32_t* ids, const kernels::cuda::SequenceBatch& batch,
                       const Results& results, const KvPool& kv, const device::Stream& stream);
  /// Logits of `count` rows of what forward() returned; row_ids on the device, null: the first ones.
  void head(const Activations& work, const float* hidden, const std::int32_t* row_ids, std::int64_t count,
            const device::Stream& stream);

 private:
  struct Layer {
    Linear qkv, o, gate_up, down;
    device::Buffer norms;  ///< binary32: input_norm, mlp_norm [hidden_size], q_norm, k_norm [head_dim]
    const float* input_norm() const { return reinterpret_cast<const float*>(norms.data()); }
    const float* mlp_norm(std::int64_t hidden_size) const { return input_norm() + hidden_size; }
  };
  Layer load_layer(const model::WeightSource& source, std::int64_t index);
  Layer copy_layer(const Layer& from, const device::Stream& stream) const;
  bool uses_panel(const Linear& linear, std::int64_t m) const {
    if (!fast_linears_ || !linear.quantized()) return false;
    return fast_from_ > 0 ? m >= fast_from_ : kernels::cuda::w4_panel_pays(linear.layout(), m);
  }
  void apply(const Linear& linear, const Activations& work, const std::byte* x, std::int64_t m, std::byte* y,
             const device::Stream& stream);
  /// From the output of attention in layer `index` to the input of attention in the next one.
  void finish_layer(std::size_t index, const Activations& work, std::int64_t tokens, const device::Stream& stream);
  /// The same in one launch.
  kernels::cuda::W4Chain chain(std::size_t index, std::int64_t tokens) const;
  std::int64_t most_chained_tokens() const;
  void run_chain(std::size_t index, const Activations& work, std::int64_t tokens, const device::Stream& stream);
  /// `store_only`: queries may be left out.
  void attend(const Layer& layer, std::int64_t index, const Activations& work,
              const kernels::cuda::SequenceBatch& batch, bool store_only, const KvPool& kv,
              const device::Stream& stream);

  model::ModelConfig config_;
  Half type_ = Half::kBf16;
  kernels::cuda::CacheType cache_type_ = kernels::cuda::CacheType::kHalf;
  bool quantized_ = true;
  std::int64_t fused_tokens_ = 0;  ///< most tokens of a step that rotates in its attention
  std::int64_t chained_tokens_ = 0;
  bool fast_linears_ = false;
  std::int64_t fast_from_ = 0;
  std::vector<Layer> layers_;
  device::Buffer embedding_;  ///< empty when the head serves as the embedding
  Linear head_;
  device::Buffer head_bias_;  ///< [vocab_size] binary32 or empty
  device::Buffer final_norm_;
  device::Buffer rope_;  ///< cosines, then sines, [positions, head_dim / 2] each
  std::int64_t positions_ = 0;
  device::Buffer dense_workspace_;
  std::unique_ptr<device::DenseProduct> dense_;
};

}  // namespace awq::gpu
