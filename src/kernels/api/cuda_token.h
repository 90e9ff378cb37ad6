#pragma once

#include <cstdint>

#include "kernels/api/cuda_types.h"
#include "kernels/api/draw.h"

/// What a token needs on an NVIDIA device between its products. All pointers are device memory. Every function enqueues
/// on `stream`, allocates nothing, can be captured in a graph, and returns a cudaError_t as a number (0: enqueued).
/// "half" is a 16-bit number of the type `Half` says. The hidden state is binary32; sums are binary32.
namespace awq::kernels::cuda {

/// hidden[t] = float(table[ids[t]]): table [vocab, width] half, hidden [tokens, width].
int embed(Half type, const void* table, const std::int32_t* ids, std::int64_t tokens, std::int64_t width, float* hidden,
          Stream stream);

/// Row t of `to` = row rows[t] of `from`, of row_bytes each, a multiple of 4. The two do not overlap.
int gather_rows(void* to, const void* from, const std::int32_t* rows, std::int64_t count, std::int64_t row_bytes,
                Stream stream);

/// y = half(x * weight / sqrt(mean(x^2) + eps)), row t of y from row rows[t] of x (row t when `rows` is null).
/// x [*, width], weight [width] binary32, y [tokens, width].
int rms_norm(Half type, const float* x, const std::int32_t* rows, const float* weight, float eps, std::int64_t tokens,
             std::int64_t width, void* y, Stream stream);
/// hidden += branch (half), then y = rms_norm(hidden); with a null weight the addition alone.
int add_rms_norm(Half type, float* hidden, const void* branch, const float* weight, float eps, std::int64_t tokens,
                 std::int64_t width, void* y, Stream stream);

/// y = half(silu(gate) * up): gate_up [tokens, 2 * inner] with the gates of a row first, y [tokens, inner].
int silu_multiply(Half type, const void* gate_up, std::int64_t tokens, std::int64_t inner, void* y, Stream stream);

/// How keys and values are cached.
enum class CacheType : std::uint8_t {
  kHalf,  ///< as they are computed
  kE4M3,  ///< 8-bit floats, with a power of two for each token and head as scale (kernels/kv_scale.h)
  kInt8,  ///< -127 .. 127, with the largest magnitude of each token and head over 127, rounded up to a half, as scale
};

/// Keys and values of one layer in blocks of kKvBlockTokens (16) tokens: [block][kv head][K, V][token][head_dim],
/// halves or codes, with codes followed by their scales [K, V][token] as halves. In which order the elements of a row
/// lie is the kernels' own business: only they read and write it.
struct KvBlocks {
  void* data = nullptr;
  std::int32_t num_kv_heads = 0;
  std::int32_t head_dim = 0;
  CacheType type = CacheType::kHalf;
};
/// Bytes of one head in one block, keys, values and scales.
constexpr std::int64_t kv_head_bytes(CacheType type, std::int64_t head_dim) {
  constexpr std::int64_t kTokens = 16;
  return type == CacheType::kHalf ? 2 * kTokens * head_dim * 2 : 2 * kTokens * head_dim + 2 * kTokens * 2;
}

/// The sequences of a flat batch: tokens of all of them one after the other.
struct SequenceBatch {
  std::int32_t sequences = 0;
  std::int32_t tokens = 0;       ///< of all sequences
  std::int32_t max_queries = 0;  ///< no sequence has more new tokens
  std::int32_t max_length = 0;   ///< no sequence has more past and new tokens (a bound: graphs round it up)
  const std::int32_t* query_begin = nullptr;  ///< [sequences + 1] first token of each in the batch
  const std::int32_t* past = nullptr;         ///< [sequences] tokens whose keys and values lie in the cache already
  const std::int32_t* blocks = nullptr;       ///< [sequences, block_stride] block tables
  std::int32_t block_stride = 0;
  const std::int32_t* token_sequence = nullptr;  ///< [tokens] whose token it is
};

/// Per head of q and k: optional RMS norm over head_dim (Qwen3; q_norm and k_norm [head_dim] or null), then the rotary
/// embedding of the token's position (past + index; pairs are (j, j + head_dim / 2), tables [positions, head_dim / 2]).
/// q is rewritten in place, k and v go to the cache. qkv [tokens, (num_heads + 2 num_kv_heads) * head_dim] half.
struct Rotation {
  const float* cosines = nullptr;
  const float* sines = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  float eps = 0;
};
int rope_and_store(Half type, void* qkv, std::int32_t num_heads, const SequenceBatch& batch, const Rotation& rotation,
                   const KvBlocks& kv, Stream stream);

struct AttentionProblem {
  Half type = Half::kBf16;
  std::int32_t num_heads = 0;
  float scale = 0;          ///< of the scores
  std::int64_t window = 0;  ///< keys that a query sees, itself included; 0: all
  void* q = nullptr;        ///< token t, head h at q + (t * q_stride + h * head_dim) halves
  std::int64_t q_stride = 0;
  void* out = nullptr;  ///< [tokens, num_heads * head_dim] half
};
/// Bytes of scratch that attention() needs for batches within these bounds.
std::uint64_t attention_workspace_bytes(std::int32_t num_heads, std::int32_t head_dim, std::int32_t max_sequences,
                                        std::int32_t max_tokens, std::int32_t max_length);
/// Causal attention of every new token over its sequence's cache (its own keys and values are stored already). The
/// result of a row depends on its sequence alone: keys are cut at absolute positions, chunk results are merged in
/// rising order, whatever else is in the batch and however a prompt was cut into steps.
int attention(const AttentionProblem& problem, const SequenceBatch& batch, const KvBlocks& kv, void* workspace,
              Stream stream);
/// rope_and_store() with problem.q as its qkv, then attention(); in one launch where every sequence has one new token
/// and the tensor cores serve the head, and then q is not rewritten. The results are the same bit by bit.
int rotate_and_attend(const AttentionProblem& problem, const Rotation& rotation, const SequenceBatch& batch,
                      const KvBlocks& kv, void* workspace, Stream stream);

/// ids[r] = index of the largest of logits[r, 0 .. vocab), the lowest index among equals; NaN never wins, and a row of
/// nothing else gets -1. Minus infinity is a number.
int argmax(const float* logits, std::int64_t rows, std::int64_t vocab, std::int32_t* ids, Stream stream);

/// ids[r] = what rules[r] (device memory) draws from logits[rows[r], 0 .. vocab) (row r when `rows` is null), as
/// kernels/api/draw.h says; -1 where a logit is not finite. vocab < kMaxDrawnIds.
int draw(const float* logits, const std::int32_t* rows, const DrawRule* rules, std::int64_t count, std::int64_t vocab,
         std::int32_t* ids, Stream stream);

}  // namespace awq::kernels::cuda
