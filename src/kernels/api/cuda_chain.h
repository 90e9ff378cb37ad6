#pragma once

#include <cstdint>

#include "kernels/api/cuda_linear.h"

/// The 4-bit linears from one attention to the next in one launch, for few tokens: weights stream without a pause from
/// the first to the last, because what a linear needs of the one before it is waited for inside the kernel.
///
///   hidden += half(attended Wo^T + bo)
///   product = half(silu(gate) * up)      [gate, up] = half(half(rms_norm(hidden, mlp_norm)) Wg^T + bg)
///   hidden += half(product Wd^T + bd)
///   qkv     = half(half(rms_norm(hidden, next_norm)) Wq^T + bq)      of the next layer, where there is one
///
/// Bit by bit what w4_linear(), add_rms_norm() and silu_multiply() give. Half: a 16-bit number of `type`; the hidden
/// state is binary32. All pointers are device memory.
namespace awq::kernels::cuda {

struct W4Link {
  W4Layout layout;
  const void* weight = nullptr;  ///< the packed stream
  const float* bias = nullptr;   ///< [n] or null
};

struct W4Chain {
  Half type = Half::kBf16;
  std::int64_t m = 0;              ///< tokens
  W4Link o;                        ///< [hidden, attended]
  W4Link gate_up;                  ///< [2 inner, hidden], gates first
  W4Link down;                     ///< [hidden, inner]
  W4Link qkv;                      ///< [*, hidden] of the next layer; no weight: the chain ends after `down`
  const void* attended = nullptr;  ///< [m, o.k] half
  float* hidden = nullptr;         ///< [m, hidden]
  const float* mlp_norm = nullptr;
  const float* next_norm = nullptr;
  float eps = 0;
  void* product = nullptr;    ///< [m, inner] half, scratch
  void* qkv_out = nullptr;    ///< [m, qkv.n] half
  void* workspace = nullptr;  ///< kW4ChainWorkspaceBytes, zero before the first launch
};

inline constexpr std::uint64_t kW4ChainWorkspaceBytes = 256;

/// Whether chains are known to be faster on the current device than the kernels that they stand for: where the code is
/// for compute capability 9.0 (docs/benchmarks-cuda.md).
bool w4_chain_pays();
/// Why this chain cannot run on the current device, or null. Shapes and m decide; pointers are not looked at.
const char* w4_chain_objection(const W4Chain& chain);
/// Enqueues it. Returns a cudaError_t as a number. Allocates nothing; can be captured in a graph. Chains that share a
/// workspace have to follow each other in one stream.
int w4_chain(const W4Chain& chain, Stream stream);

}  // namespace awq::kernels::cuda
