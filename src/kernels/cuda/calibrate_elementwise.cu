// What a layer does between its products, in binary32, and what calibration keeps of activations.

#include "kernels/api/cuda_calibrate.h"
#include "kernels/cuda/exp_device.cuh"
#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::calibrate {
namespace {

struct Widen {
  const std::uint16_t* from;
  float* out;
  __device__ void operator()(std::int64_t i) const {
    out[i] = __uint_as_float(static_cast<std::uint32_t>(from[i]) << 16);
  }
};
struct Narrow {
  const float* x;
  std::uint16_t* out;
  __device__ void operator()(std::int64_t i) const { out[i] = search::bf16_bits(x[i]); }
};
struct Add {
  float* x;
  const float* y;
  __device__ void operator()(std::int64_t i) const { x[i] += y[i]; }
};
struct Subtract {
  float* x;
  const float* y;
  __device__ void operator()(std::int64_t i) const { x[i] -= y[i]; }
};
struct AddBias {
  float* x;
  const float* bias;
  std::int64_t width;
  __device__ void operator()(std::int64_t i) const { x[i] += bias[i % width]; }
};
struct SiluMultiply {
  float* gate;
  const float* up;
  __device__ void operator()(std::int64_t i) const {
    const float g = gate[i];
    const float e = exp_nonpositive_device(-fabsf(g));
    const float sigmoid = (g >= 0 ? 1.0F : e) / (1.0F + e);
    gate[i] = g * sigmoid * up[i];
  }
};
struct WeighGap {
  float* exact;
  const float* quantized;
  const float* weights;
  std::int64_t width;
  __device__ void operator()(std::int64_t i) const { exact[i] = (exact[i] - quantized[i]) * weights[i / width]; }
};
struct Weigh {
  float* x;
  const float* weights;
  std::int64_t width;
  __device__ void operator()(std::int64_t i) const { x[i] *= weights[i / width]; }
};
/// Element i is a pair of one head of one token.
struct Rotate {
  float* x;
  std::int64_t heads, half, length;
  const float* cosines;
  const float* sines;
  __device__ void operator()(std::int64_t i) const {
    const std::int64_t j = i % half;
    const std::int64_t head = i / half;  // counted over all tokens
    const std::int64_t angle = head / heads % length * half + j;
    float* v = x + head * 2 * half + j;
    const float a = v[0];
    const float b = v[half];
    v[0] = a * cosines[angle] - b * sines[angle];
    v[half] = b * cosines[angle] + a * sines[angle];
  }
};

template <class Work>
__global__ void each_kernel(std::int64_t count, Work work) {
  const std::int64_t i = this_element();
  if (i < count) work(i);
}

template <class Work>
int each(std::int64_t count, const Work& work, Stream stream) {
  return enqueue(each_kernel<Work>, element_blocks(count), kPlainThreads, stream, count, work);
}

/// Sum of squares of a row over a block of threads; every thread gets it.
__device__ double square_sum(const float* row, std::int64_t width) {
  __shared__ double parts[kPlainThreads / kPlainWarp];
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) sum += static_cast<double>(row[i]) * row[i];
  sum = warp_sum(sum);
  if (this_lane() == 0) parts[threadIdx.x / kPlainWarp] = sum;
  __syncthreads();
  double total = 0;
  for (const double part : parts) total += part;
  return total;
}

__global__ void rms_norm_kernel(const float* x, const float* weight, float eps, std::int64_t width, float* y) {
  const float* row = x + blockIdx.x * width;
  float* to = y + blockIdx.x * width;
  const auto factor =
      static_cast<float>(1.0 / sqrt(square_sum(row, width) / static_cast<double>(width) + static_cast<double>(eps)));
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) to[i] = row[i] * factor * weight[i];
}

__global__ void residual_weights_kernel(const float* residual, std::int64_t width, float* weights) {
  const double squares = square_sum(residual + blockIdx.x * width, width);
  if (threadIdx.x == 0)
    weights[blockIdx.x] = squares > 0 ? static_cast<float>(sqrt(static_cast<double>(width) / squares)) : 0.0F;
}

/// A block takes 32 channels, a warp of it every eighth token.
__global__ void magnitudes_kernel(const float* x, std::int64_t tokens, std::int64_t width, double* sums) {
  constexpr int kWarps = kPlainThreads / kPlainWarp;
  __shared__ double parts[kWarps][kPlainWarp];
  const std::int64_t k = static_cast<std::int64_t>(blockIdx.x) * kPlainWarp + this_lane();
  const int warp = static_cast<int>(threadIdx.x / kPlainWarp);
  double sum = 0;
  if (k < width) {
    for (std::int64_t t = warp; t < tokens; t += kWarps) sum += fabsf(x[t * width + k]);
  }
  parts[warp][this_lane()] = sum;
  __syncthreads();
  if (warp != 0 || k >= width) return;
  double total = sums[k];
  for (int w = 0; w < kWarps; ++w) total += parts[w][this_lane()];
  sums[k] = total;
}

/// A block mirrors a tile of 32 x 32, given by its place in the lower triangle.
__global__ void mirror_kernel(float* matrix, std::int64_t width, std::int64_t tiles) {
  __shared__ float tile[kPlainWarp][kPlainWarp + 1];
  const std::int64_t down = blockIdx.x / tiles;
  const std::int64_t right = blockIdx.x % tiles;
  if (right > down) return;
  for (std::int64_t r = threadIdx.x / kPlainWarp; r < kPlainWarp; r += kPlainThreads / kPlainWarp) {
    const std::int64_t i = right * kPlainWarp + r;
    const std::int64_t j = down * kPlainWarp + this_lane();
    if (i < width && j < width) tile[r][this_lane()] = matrix[i * width + j];
  }
  __syncthreads();
  for (std::int64_t r = threadIdx.x / kPlainWarp; r < kPlainWarp; r += kPlainThreads / kPlainWarp) {
    const std::int64_t i = down * kPlainWarp + r;
    const std::int64_t j = right * kPlainWarp + this_lane();
    if (i < width && j < i) matrix[i * width + j] = tile[this_lane()][r];
  }
}

}  // namespace

int widen(const void* from, std::int64_t count, float* out, Stream stream) {
  return each(count, Widen{static_cast<const std::uint16_t*>(from), out}, stream);
}
int to_bf16(const float* x, std::int64_t count, void* out, Stream stream) {
  return each(count, Narrow{x, static_cast<std::uint16_t*>(out)}, stream);
}
int add(float* x, const float* y, std::int64_t count, Stream stream) { return each(count, Add{x, y}, stream); }
int subtract(float* x, const float* y, std::int64_t count, Stream stream) {
  return each(count, Subtract{x, y}, stream);
}
int add_bias(float* x, const float* bias, std::int64_t rows, std::int64_t width, Stream stream) {
  return each(rows * width, AddBias{x, bias, width}, stream);
}
int rms_norm(const float* x, const float* weight, float eps, std::int64_t rows, std::int64_t width, float* y,
             Stream stream) {
  return enqueue(rms_norm_kernel, rows, kPlainThreads, stream, x, weight, eps, width, y);
}
int silu_multiply(float* gate, const float* up, std::int64_t count, Stream stream) {
  return each(count, SiluMultiply{gate, up}, stream);
}
int rotate(float* x, std::int64_t tokens, std::int64_t heads, std::int64_t head_dim, std::int64_t length,
           const float* cosines, const float* sines, Stream stream) {
  return each(tokens * heads * (head_dim / 2), Rotate{x, heads, head_dim / 2, length, cosines, sines}, stream);
}
int add_magnitudes(const float* x, std::int64_t tokens, std::int64_t width, double* sums, Stream stream) {
  return enqueue(magnitudes_kernel, (width + kPlainWarp - 1) / kPlainWarp, kPlainThreads, stream, x, tokens, width,
                 sums);
}
int mirror(float* matrix, std::int64_t width, Stream stream) {
  const std::int64_t tiles = (width + kPlainWarp - 1) / kPlainWarp;
  return enqueue(mirror_kernel, tiles * tiles, kPlainThreads, stream, matrix, width, tiles);
}
int residual_weights(const float* residual, std::int64_t tokens, std::int64_t width, float* weights, Stream stream) {
  return enqueue(residual_weights_kernel, tokens, kPlainThreads, stream, residual, width, weights);
}
int weigh_gap(float* exact, const float* quantized, const float* weights, std::int64_t tokens, std::int64_t width,
              Stream stream) {
  return each(tokens * width, WeighGap{exact, quantized, weights, width}, stream);
}
int weigh(float* x, const float* weights, std::int64_t tokens, std::int64_t width, Stream stream) {
  return each(tokens * width, Weigh{x, weights, width}, stream);
}

}  // namespace awq::kernels::cuda::calibrate
