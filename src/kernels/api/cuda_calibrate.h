#pragma once

#include <cstdint>

#include "kernels/api/cuda_types.h"

/// What calibration on an NVIDIA device needs between its matrix products. Numbers are binary32 unless said otherwise,
/// as on the processor: activations are rounded to 16 bits only where a product takes them so. All pointers are device
/// memory, row-major. Every function enqueues on `stream`, allocates nothing and returns a cudaError_t as a number
/// (0: enqueued). Results depend on the arguments alone.
namespace awq::kernels::cuda::calibrate {

/// out[i] = float(from[i]) of bf16 numbers.
int widen(const void* from, std::int64_t count, float* out, Stream stream);
/// out[i] = bf16(x[i])
int to_bf16(const float* x, std::int64_t count, void* out, Stream stream);
/// x[i] += y[i]
int add(float* x, const float* y, std::int64_t count, Stream stream);
/// x[i] -= y[i]
int subtract(float* x, const float* y, std::int64_t count, Stream stream);
/// x [rows, width] += bias [width]
int add_bias(float* x, const float* bias, std::int64_t rows, std::int64_t width, Stream stream);
/// y = x * weight / sqrt(mean(x^2) + eps) row by row, squares summed in binary64; y may be x. x [rows, width].
int rms_norm(const float* x, const float* weight, float eps, std::int64_t rows, std::int64_t width, float* y,
             Stream stream);
/// gate[i] = silu(gate[i]) * up[i]
int silu_multiply(float* gate, const float* up, std::int64_t count, Stream stream);
/// The rotary embedding in place: x [tokens, heads, head_dim], token t at position t % length; pairs are (j, j +
/// head_dim / 2), tables [positions, head_dim / 2].
int rotate(float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, std::int64_t length,
           const float* cosines, const float* sines, Stream stream);

/// Causal attention of sequences of `length` tokens, one after the other.
struct Attention {
  std::int64_t tokens = 0;  ///< a multiple of length
  std::int64_t length = 0;
  std::int64_t num_heads = 0, num_kv_heads = 0;
  std::int64_t head_dim = 0;  ///< at most 256
  float scale = 0;            ///< of the scores
  std::int64_t window = 0;    ///< keys that a query sees, itself included; 0: all
  const float* q = nullptr;   ///< [tokens, num_heads, head_dim]
  const float* k = nullptr;   ///< [tokens, num_kv_heads, head_dim]
  const float* v = nullptr;
  float* out = nullptr;  ///< [tokens, num_heads, head_dim]
};
int attention(const Attention& problem, Stream stream);

/// sums[k] += sum over tokens of |x[t, k]|, in binary64. x [tokens, width].
int add_magnitudes(const float* x, std::int64_t tokens, std::int64_t width, double* sums, Stream stream);
/// The lower triangle of a matrix [width, width] becomes the transpose of its upper one.
int mirror(float* matrix, std::int64_t width, Stream stream);
/// weights[t] = 1 / sqrt(mean(residual[t]^2)), 0 for a row of zeros. residual [tokens, width].
int residual_weights(const float* residual, std::int64_t tokens, std::int64_t width, float* weights, Stream stream);
/// exact[t, i] = (exact[t, i] - quantized[t, i]) * weights[t]
int weigh_gap(float* exact, const float* quantized, const float* weights, std::int64_t tokens, std::int64_t width,
              Stream stream);
/// x[t, i] *= weights[t]
int weigh(float* x, const float* weights, std::int64_t tokens, std::int64_t width, Stream stream);

}  // namespace awq::kernels::cuda::calibrate
