#include "kernels/cuda/rope_head.cuh"

namespace awq::kernels::cuda {
namespace {

constexpr unsigned kWarpsPerBlock = 8;
constexpr int kMaxHeadDim = 256;

/// One warp per head of one token.
template <Half kType, int kWidth, int kTurns, CacheType kCache>
__global__ void __launch_bounds__(kWarpsPerBlock * 32) rope_kernel(RopeArguments a) {
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const int head = static_cast<int>(blockIdx.y * kWarpsPerBlock + threadIdx.x / 32);
  const int total = a.num_heads + 2 * a.num_kv_heads;
  if (head >= total) return;
  const std::int64_t token = blockIdx.x;
  rotate_head<kType, kWidth, kTurns, kCache>(a, token, a.token_sequence[token], head,
                                             a.qkv + (token * total + head) * a.head_dim);
}

}  // namespace

int rope_and_store(Half type, void* qkv, std::int32_t num_heads, const SequenceBatch& batch, const Rotation& rotation,
                   const KvBlocks& kv, Stream stream) {
  if (batch.tokens <= 0) return 0;
  if (kv.head_dim <= 0 || kv.head_dim % 2 != 0 || kv.head_dim > kMaxHeadDim) {
    return static_cast<int>(cudaErrorInvalidValue);
  }
  const RopeArguments a(qkv, num_heads, batch, rotation, kv);
  const auto heads = static_cast<unsigned>(num_heads + 2 * kv.num_kv_heads);
  const dim3 grid(static_cast<unsigned>(batch.tokens), (heads + kWarpsPerBlock - 1) / kWarpsPerBlock);
  const int half = kv.head_dim / 2;
  return for_half_and_cache(type, kv.type, [&]<Half kType, CacheType kCache>() {
    // The head's width alone decides.
    const auto kernel = half % 2 != 0 ? rope_kernel<kType, 1, 4, kCache>
                        : half <= 64  ? rope_kernel<kType, 2, 1, kCache>
                                      : rope_kernel<kType, 2, 2, kCache>;
    return launch(kernel, grid, kWarpsPerBlock * 32, 0, stream, 1, a);
  });
}

}  // namespace awq::kernels::cuda
