#include "kernels/cuda/attention_geometry.cuh"
#include "kernels/cuda/rope_head.cuh"
#include "kernels/cuda/token_device.cuh"

namespace awq::kernels::cuda {
namespace {

/// New tokens of a sequence up to which its keys are split over blocks. Every 16 rows read the keys again, from the
/// level-2 cache; but a few hundred rows are too few for the blocks of prefill, which do not split keys.
constexpr std::int64_t kMostSplitQueries = 32;
/// Partial results may take so much; more only where one new token per sequence needs it.
constexpr std::uint64_t kPartialBudget = 256ULL << 20;
constexpr std::uint64_t kAlignment = 256;

constexpr std::int64_t divide_up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }
constexpr std::uint64_t align_up(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Bytes of the partial results of `rows` (token, head) pairs: sums of values, then weights.
constexpr std::uint64_t value_bytes(std::uint64_t rows, std::int64_t chunks, std::int32_t head_dim) {
  return align_up(rows * static_cast<std::uint64_t>(chunks * head_dim) * sizeof(float));
}
constexpr std::uint64_t partial_bytes(std::uint64_t rows, std::int64_t chunks, std::int32_t head_dim) {
  return value_bytes(rows, chunks, head_dim) + align_up(rows * static_cast<std::uint64_t>(chunks) * sizeof(float2));
}

/// New tokens per sequence that are split within the budget; at least one. Which kernel computes a row does not show in
/// its bits. Fewer sequences or chunks never need more memory than more of them.
constexpr std::int64_t split_queries(std::int64_t num_heads, std::int32_t head_dim, std::int64_t sequences,
                                     std::int64_t chunks) {
  std::int64_t queries = kMostSplitQueries;
  while (queries > 1 && partial_bytes(static_cast<std::uint64_t>(sequences * queries * num_heads), chunks, head_dim) >
                            kPartialBudget) {
    --queries;
  }
  return queries;
}

bool has_tensor_kernels(std::int32_t head_dim) {
  return (head_dim == 64 || head_dim == 128) && code_capability() >= 80;
}

}  // namespace

std::uint64_t attention_workspace_bytes(std::int32_t num_heads, std::int32_t head_dim, std::int32_t max_sequences,
                                        std::int32_t max_tokens, std::int32_t max_length) {
  if (max_sequences <= 0 || max_length <= kChunkKeys) return 0;
  const std::int64_t chunks = divide_up(max_length, kChunkKeys);
  const auto heads = static_cast<std::uint64_t>(num_heads) * static_cast<std::uint64_t>(max_sequences);
  const std::uint64_t one = partial_bytes(heads, chunks, head_dim);
  const std::uint64_t most = partial_bytes(heads * kMostSplitQueries, chunks, head_dim);
  return most <= kPartialBudget ? most : one > kPartialBudget ? one : kPartialBudget;
}

namespace {

bool is_possible(const AttentionProblem& problem, const SequenceBatch& batch, const KvBlocks& kv) {
  return kv.head_dim > 0 && kv.head_dim % 2 == 0 && kv.head_dim <= kMaxHeadDim && kv.num_kv_heads > 0 &&
         problem.num_heads % kv.num_kv_heads == 0 && problem.scale > 0 && batch.sequences <= 65535 &&
         batch.max_length > 0;
}

AttentionArguments arguments_of(const AttentionProblem& problem, const SequenceBatch& batch, const KvBlocks& kv) {
  constexpr float kLog2E = 1.44269504F;
  constexpr std::int64_t kWidest = 0x7fffffff;
  AttentionArguments a = {};
  a.q = static_cast<const std::uint16_t*>(problem.q);
  a.q_stride = problem.q_stride;
  a.out = static_cast<std::uint16_t*>(problem.out);
  a.cache = static_cast<const unsigned char*>(kv.data);
  a.cache_type = kv.type;
  a.num_heads = problem.num_heads;
  a.num_kv_heads = kv.num_kv_heads;
  a.head_dim = kv.head_dim;
  a.group = problem.num_heads / kv.num_kv_heads;
  a.window = static_cast<std::int32_t>(problem.window < kWidest ? problem.window : kWidest);
  a.scale = problem.scale * kLog2E;
  a.sequences = batch.sequences;
  a.query_begin = batch.query_begin;
  a.past = batch.past;
  a.blocks = batch.blocks;
  a.block_stride = batch.block_stride;
  a.token_sequence = batch.token_sequence;
  return a;
}

/// How many new tokens of a sequence are split over blocks by chunks, and where partial results go.
void plan_split(const AttentionProblem& problem, const SequenceBatch& batch, const KvBlocks& kv, void* workspace,
                AttentionArguments& a) {
  const std::int64_t chunks = divide_up(batch.max_length, kChunkKeys);
  a.chunks = static_cast<std::int32_t>(chunks);
  const std::int64_t most = batch.max_queries < batch.tokens ? batch.max_queries : batch.tokens;
  std::int64_t split = split_queries(problem.num_heads, kv.head_dim, batch.sequences, chunks);
  if (split > most) split = most;
  // Where all sequences have the most new tokens, one kernel is enough.
  const bool all_alike = static_cast<std::int64_t>(batch.sequences) * most == batch.tokens;
  if (all_alike && most > split) split = 0;
  a.split_queries = static_cast<std::int32_t>(split);
  a.partial = static_cast<float*>(workspace);
  const auto rows = static_cast<std::uint64_t>(batch.sequences * split * problem.num_heads);
  a.partial_weights =
      reinterpret_cast<float2*>(static_cast<unsigned char*>(workspace) + value_bytes(rows, chunks, kv.head_dim));
}

}  // namespace

int attention(const AttentionProblem& problem, const SequenceBatch& batch, const KvBlocks& kv, void* workspace,
              Stream stream) {
  if (batch.tokens <= 0 || batch.sequences <= 0) return 0;
  if (!is_possible(problem, batch, kv)) return static_cast<int>(cudaErrorInvalidValue);
  AttentionArguments a = arguments_of(problem, batch, kv);
  if (!has_tensor_kernels(kv.head_dim)) return launch_attention_plain(problem.type, a, batch.tokens, stream);
  plan_split(problem, batch, kv, workspace, a);
  if (a.split_queries > 0) {
    const int status = launch_attention_decode(problem.type, a, stream);
    if (status != 0) return status;
  }
  if (batch.max_queries <= a.split_queries || batch.tokens <= a.split_queries) return 0;
  return launch_attention_prefill(problem.type, a, batch.tokens, stream);
}

int rotate_and_attend(const AttentionProblem& problem, const Rotation& rotation, const SequenceBatch& batch,
                      const KvBlocks& kv, void* workspace, Stream stream) {
  if (batch.tokens <= 0 || batch.sequences <= 0) return 0;
  if (!is_possible(problem, batch, kv)) return static_cast<int>(cudaErrorInvalidValue);
  const bool one_each = batch.max_queries == 1 && batch.tokens == batch.sequences;
  if (!one_each || !has_tensor_kernels(kv.head_dim) || problem.num_heads / kv.num_kv_heads > kTileRows) {
    const int status = rope_and_store(problem.type, problem.q, problem.num_heads, batch, rotation, kv, stream);
    return status != 0 ? status : attention(problem, batch, kv, workspace, stream);
  }
  AttentionArguments a = arguments_of(problem, batch, kv);
  plan_split(problem, batch, kv, workspace, a);
  return launch_rotating_decode(problem.type, a, RopeArguments(problem.q, problem.num_heads, batch, rotation, kv),
                                stream);
}

}  // namespace awq::kernels::cuda
