// Diagonal blocks of a reverse Cholesky factorization and divisions by them.

#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::search {
namespace {

constexpr unsigned kFactorThreads = 512;
constexpr int kSlots = static_cast<int>(kBlock) / static_cast<int>(kPlainWarp);  // elements of a row that a lane holds

__global__ void gather_kernel(const float* gram, const std::int32_t* order, std::int64_t width, float extra,
                              float* out) {
  const std::int64_t at = this_element();
  if (at >= width * width) return;
  const std::int64_t i = at / width;
  const std::int64_t j = at % width;
  float value = order == nullptr ? gram[at] : gram[order[i] * width + order[j]];
  if (i == j) {
    if (!(value > 0)) value = 1;
    value += extra;
  }
  out[at] = value;
}

/// One block of threads. Rows of `a` are columns of the block, so that the inner loop runs along memory.
__global__ void factorize_kernel(float* block, std::int64_t size, std::int64_t stride, double* a, float* lower,
                                 std::int32_t* failed) {
  for (std::int64_t at = threadIdx.x; at < size * size; at += blockDim.x) {
    const std::int64_t i = at / size;
    const std::int64_t j = at % size;
    if (j >= i) a[j * size + i] = block[i * stride + j];
  }
  __syncthreads();
  for (std::int64_t j = size - 1; j >= 0; --j) {
    const double square = a[j * size + j];
    __syncthreads();
    if (!(square > 0) && threadIdx.x == 0) *failed = 1;  // what comes of it is thrown away
    const double pivot = sqrt(square);
    for (std::int64_t i = threadIdx.x; i <= j; i += blockDim.x)
      a[j * size + i] = i == j ? pivot : a[j * size + i] / pivot;
    __syncthreads();
    for (std::int64_t k = threadIdx.x / kPlainWarp; k < j; k += blockDim.x / kPlainWarp) {
      const double factor = a[j * size + k];
      for (std::int64_t i = this_lane(); i <= k; i += kPlainWarp) a[k * size + i] -= factor * a[j * size + i];
    }
    __syncthreads();
  }
  for (std::int64_t at = threadIdx.x; at < size * size; at += blockDim.x) {
    const std::int64_t i = at / size;
    const std::int64_t j = at % size;
    const float value = j < i ? 0.0F : static_cast<float>(a[j * size + i]);
    block[i * stride + j] = value;
    lower[j * size + i] = value;
  }
}

__global__ void transpose_block_kernel(const float* block, std::int64_t size, std::int64_t stride, float* lower) {
  const std::int64_t at = this_element();
  if (at >= size * size) return;
  const std::int64_t i = at / size;
  const std::int64_t j = at % size;
  lower[j * size + i] = j < i ? 0.0F : block[i * stride + j];
}

/// A row of up to kBlock numbers in the registers of a warp: column lane + 32 e in slot e.
struct WarpRow {
  float slot[kSlots];

  __device__ void load(const float* x, std::int64_t size) {
#pragma unroll
    for (int e = 0; e < kSlots; ++e) {
      const int column = this_lane() + e * static_cast<int>(kPlainWarp);
      slot[e] = column < size ? x[column] : 0.0F;
    }
  }
  __device__ void store(float* x, std::int64_t size) const {
#pragma unroll
    for (int e = 0; e < kSlots; ++e) {
      const int column = this_lane() + e * static_cast<int>(kPlainWarp);
      if (column < size) x[column] = slot[e];
    }
  }
};

__global__ void divide_by_transposed_kernel(float* x, std::int64_t rows, std::int64_t stride, const float* lower,
                                            std::int64_t size) {
  const std::int64_t n = this_warp();
  if (n >= rows) return;
  WarpRow row;
  row.load(x + n * stride, size);
#pragma unroll
  for (int own = kSlots - 1; own >= 0; --own) {
#pragma unroll 1
    for (int lane = static_cast<int>(kPlainWarp) - 1; lane >= 0; --lane) {
      const int j = own * static_cast<int>(kPlainWarp) + lane;
      if (j >= size) continue;
      const float* b = lower + j * size;
      const float value = __shfl_sync(kAllLanes, row.slot[own], lane) / b[j];
#pragma unroll
      for (int e = 0; e < kSlots; ++e) {
        const int column = this_lane() + e * static_cast<int>(kPlainWarp);
        if (column == j) row.slot[e] = value;
        if (column < j) row.slot[e] -= value * b[column];
      }
    }
  }
  row.store(x + n * stride, size);
}

__global__ void divide_by_kernel(float* x, std::int64_t rows, std::int64_t stride, const float* block,
                                 std::int64_t block_stride, std::int64_t size) {
  const std::int64_t n = this_warp();
  if (n >= rows) return;
  WarpRow row;
  row.load(x + n * stride, size);
#pragma unroll
  for (int own = 0; own < kSlots; ++own) {
#pragma unroll 1
    for (int lane = 0; lane < static_cast<int>(kPlainWarp); ++lane) {
      const int j = own * static_cast<int>(kPlainWarp) + lane;
      if (j >= size) break;
      const float* b = block + j * block_stride;
      const float value = __shfl_sync(kAllLanes, row.slot[own], lane) / b[j];
#pragma unroll
      for (int e = 0; e < kSlots; ++e) {
        const int column = this_lane() + e * static_cast<int>(kPlainWarp);
        if (column == j) row.slot[e] = value;
        if (column > j && column < size) row.slot[e] -= value * b[column];
      }
    }
  }
  row.store(x + n * stride, size);
}

__global__ void clear_lower_kernel(float* matrix, std::int64_t width) {
  const std::int64_t at = this_element();
  if (at < width * width && at % width < at / width) matrix[at] = 0;
}

}  // namespace

int gather_damped(const float* gram, const std::int32_t* order, std::int64_t width, float extra, float* out,
                  Stream stream) {
  return enqueue(gather_kernel, element_blocks(width * width), kPlainThreads, stream, gram, order, width, extra, out);
}
int factorize_block(float* block, std::int64_t size, std::int64_t stride, double* scratch, float* lower,
                    std::int32_t* failed, Stream stream) {
  return enqueue(factorize_kernel, 1, kFactorThreads, stream, block, size, stride, scratch, lower, failed);
}
int transpose_block(const float* block, std::int64_t size, std::int64_t stride, float* lower, Stream stream) {
  return enqueue(transpose_block_kernel, element_blocks(size * size), kPlainThreads, stream, block, size, stride,
                 lower);
}
int divide_by_transposed(float* x, std::int64_t rows, std::int64_t stride, const float* lower, std::int64_t size,
                         Stream stream) {
  return enqueue(divide_by_transposed_kernel, warp_blocks(rows), kPlainThreads, stream, x, rows, stride, lower, size);
}
int divide_by(float* x, std::int64_t rows, std::int64_t stride, const float* block, std::int64_t block_stride,
              std::int64_t size, Stream stream) {
  return enqueue(divide_by_kernel, warp_blocks(rows), kPlainThreads, stream, x, rows, stride, block, block_stride,
                 size);
}
int clear_lower(float* matrix, std::int64_t width, Stream stream) {
  return enqueue(clear_lower_kernel, element_blocks(width * width), kPlainThreads, stream, matrix, width);
}

}  // namespace awq::kernels::cuda::search
