// Rounding of groups, the changes of weights that it makes, and what they are measured with.

#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::search {
namespace {

/// Ranges over the lanes of a warp.
struct GroupRange {
  float low, high;
};
template <class Get>
__device__ GroupRange range_of(std::int64_t size, const Get& get) {
  float low = get(0);
  float high = low;
  for (std::int64_t k = this_lane(); k < size; k += kPlainWarp) {
    const float value = get(k);
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  return {warp_min(low), warp_max(high)};
}

__device__ void encode_group(const float* w, const Codes& codes, std::int64_t group) {
  const float scale = codes.scales[group];
  const float zero = static_cast<float>(codes.zero_points[group]);
  const float largest = largest_code(codes.bits);
  std::uint8_t* to = codes.codes + group * codes.group_size;
  for (std::int64_t k = this_lane(); k < codes.group_size; k += kPlainWarp)
    to[k] = static_cast<std::uint8_t>(code_of(w[k], scale, zero, largest));
}

__global__ void round_groups_kernel(const float* weights, Codes codes) {
  const std::int64_t group = this_warp();
  if (group >= all_groups_of(codes)) return;
  const float* w = weights + group * codes.group_size;
  const GroupRange range = range_of(codes.group_size, [&](std::int64_t k) { return w[k]; });
  const Fit fit = fit_range(range.low, range.high, codes);
  if (this_lane() == 0) {
    codes.scales[group] = fit.scale;
    codes.zero_points[group] = static_cast<std::uint8_t>(fit.zero);
  }
  __syncwarp();
  encode_group(w, codes, group);
}

__global__ void encode_kernel(const float* weights, Codes codes) {
  const std::int64_t group = this_warp();
  if (group < all_groups_of(codes)) encode_group(weights + group * codes.group_size, codes, group);
}

__device__ float weight_at(const Codes& codes, std::int64_t at) {
  const std::int64_t group = at / codes.group_size;
  return codes.scales[group] *
         static_cast<float>(static_cast<int>(codes.codes[at]) - static_cast<int>(codes.zero_points[group]));
}

__global__ void expand_kernel(Codes codes, bool bf16, void* out) {
  const std::int64_t at = this_element();
  if (at >= codes.rows * codes.width) return;
  const float value = weight_at(codes, at);
  if (bf16) {
    static_cast<std::uint16_t*>(out)[at] = bf16_bits(value);
  } else {
    static_cast<float*>(out)[at] = value;
  }
}

__global__ void count_clipped_kernel(const float* weights, Codes codes, std::int32_t* count) {
  const std::int64_t group = this_warp();
  if (group >= all_groups_of(codes)) return;
  const float* w = weights + group * codes.group_size;
  const GroupRange range = range_of(codes.group_size, [&](std::int64_t k) { return w[k]; });
  const float scale = codes.scales[group];
  const float zero = static_cast<float>(codes.zero_points[group]);
  const bool clipped =
      range.low < (-zero - 0.501F) * scale || range.high > (largest_code(codes.bits) - zero + 0.501F) * scale;
  if (clipped && this_lane() == 0) atomicAdd(count, 1);
}

__global__ void take_weights_kernel(const float* weights, std::int64_t rows, std::int64_t width, Change change) {
  const std::int64_t at = this_element();
  if (at < rows * width) put_change(change, at / width, width, at % width, weights[at]);
}

__global__ void take_change_kernel(const float* weights, Codes codes, std::int64_t first, std::int64_t rows,
                                   Change change) {
  const std::int64_t at = this_element();
  if (at >= rows * codes.width) return;
  put_change(change, at / codes.width, codes.width, at % codes.width,
             weight_at(codes, first * codes.width + at) - weights[at]);
}

__global__ void take_scaled_change_kernel(const float* weights, const float* channel_scale, std::int64_t rows,
                                          Codes like, Change change) {
  const std::int64_t group = this_warp();
  if (group >= rows * groups_of(like)) return;
  const std::int64_t row = group / groups_of(like);
  const std::int64_t begin = group % groups_of(like) * like.group_size;
  const float* w = weights + row * like.width + begin;
  const float* s = channel_scale + begin;
  const GroupRange range = range_of(like.group_size, [&](std::int64_t k) { return w[k] * s[k]; });
  const Fit fit = fit_range(range.low, range.high, like);
  const float largest = largest_code(like.bits);
  for (std::int64_t k = this_lane(); k < like.group_size; k += kPlainWarp) {
    const float code = code_of(w[k] * s[k], fit.scale, fit.zero, largest);
    put_change(change, row, like.width, begin + k, (code - fit.zero) * fit.scale / s[k] - w[k]);
  }
}

__global__ void row_dots_kernel(const void* change, bool bf16, const float* product, std::int64_t width, double* sums) {
  __shared__ double parts[kPlainThreads / kPlainWarp];
  const std::int64_t row = blockIdx.x;
  double sum = 0;
  for (std::int64_t k = threadIdx.x; k < width; k += blockDim.x) {
    const std::int64_t at = row * width + k;
    const float d =
        bf16 ? bf16_value(static_cast<const std::uint16_t*>(change)[at]) : static_cast<const float*>(change)[at];
    sum += static_cast<double>(d) * product[at];
  }
  sum = warp_sum(sum);
  if (this_lane() == 0) parts[threadIdx.x / kPlainWarp] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double total = 0;
  for (const double part : parts) total += part;
  sums[row] = total;
}

__global__ void diagonal_kernel(const float* gram, std::int64_t width, bool root, float* out) {
  const std::int64_t k = this_element();
  if (k >= width) return;
  const float h = gram[k * width + k];
  out[k] = !root ? h : h > 0 ? sqrtf(h) : 1.0F;
}

__global__ void normalise_kernel(const float* gram, std::int64_t width, const float* diagonal, std::uint16_t* out) {
  const std::int64_t at = this_element();
  if (at < width * width) out[at] = bf16_bits(gram[at] / (diagonal[at / width] * diagonal[at % width]));
}

constexpr std::int64_t kMagnitudeRows = 256;  // that one warp adds up

__global__ void magnitudes_kernel(const float* weights, std::int64_t rows, std::int64_t width, std::int64_t group_size,
                                  double* partial) {
  const std::int64_t groups = width / group_size;
  const std::int64_t part = this_warp() / groups;
  const std::int64_t begin = this_warp() % groups * group_size;
  if (part * kMagnitudeRows >= rows) return;
  double* sums = partial + part * width + begin;
  for (std::int64_t k = this_lane(); k < group_size; k += kPlainWarp) sums[k] = 0;
  const std::int64_t end = (part + 1) * kMagnitudeRows < rows ? (part + 1) * kMagnitudeRows : rows;
  for (std::int64_t n = part * kMagnitudeRows; n < end; ++n) {
    const float* w = weights + n * width + begin;
    float largest = 0;
    for (std::int64_t k = this_lane(); k < group_size; k += kPlainWarp) {
      const float magnitude = fabsf(w[k]);
      largest = magnitude > largest ? magnitude : largest;
    }
    largest = warp_max(largest);
    for (std::int64_t k = this_lane(); k < group_size; k += kPlainWarp) sums[k] += fabsf(w[k]) / (largest + 1e-6F);
  }
}

__global__ void add_parts_kernel(const double* partial, std::int64_t parts, std::int64_t width, double* sums) {
  const std::int64_t k = this_element();
  if (k >= width) return;
  double sum = sums[k];
  for (std::int64_t part = 0; part < parts; ++part) sum += partial[part * width + k];
  sums[k] = sum;
}

__global__ void scale_columns_kernel(float* weights, std::int64_t count, std::int64_t width, const float* scale) {
  const std::int64_t at = this_element();
  if (at < count) weights[at] *= scale[at % width];
}

__global__ void scale_gram_kernel(float* gram, std::int64_t width, const float* scale) {
  const std::int64_t at = this_element();
  if (at < width * width) gram[at] /= scale[at / width] * scale[at % width];
}

}  // namespace

int round_groups(const float* weights, const Codes& codes, Stream stream) {
  return enqueue(round_groups_kernel, warp_blocks(codes.all_groups()), kPlainThreads, stream, weights, codes);
}
int encode(const float* weights, const Codes& codes, Stream stream) {
  return enqueue(encode_kernel, warp_blocks(codes.all_groups()), kPlainThreads, stream, weights, codes);
}
int expand(const Codes& codes, bool bf16, void* out, Stream stream) {
  return enqueue(expand_kernel, element_blocks(codes.rows * codes.width), kPlainThreads, stream, codes, bf16, out);
}
int count_clipped(const float* weights, const Codes& codes, std::int32_t* count, Stream stream) {
  return enqueue(count_clipped_kernel, warp_blocks(codes.all_groups()), kPlainThreads, stream, weights, codes, count);
}
int take_weights(const float* weights, std::int64_t rows, std::int64_t width, const Change& change, Stream stream) {
  return enqueue(take_weights_kernel, element_blocks(rows * width), kPlainThreads, stream, weights, rows, width,
                 change);
}
int take_change(const float* weights, const Codes& codes, std::int64_t first, std::int64_t rows, const Change& change,
                Stream stream) {
  return enqueue(take_change_kernel, element_blocks(rows * codes.width), kPlainThreads, stream, weights, codes, first,
                 rows, change);
}
int take_scaled_change(const float* weights, const float* channel_scale, std::int64_t rows, const Codes& like,
                       const Change& change, Stream stream) {
  return enqueue(take_scaled_change_kernel, warp_blocks(rows * like.groups()), kPlainThreads, stream, weights,
                 channel_scale, rows, like, change);
}
int row_dots(const void* change, bool bf16, const float* product, std::int64_t rows, std::int64_t width, double* sums,
             Stream stream) {
  return enqueue(row_dots_kernel, rows, kPlainThreads, stream, change, bf16, product, width, sums);
}
int take_diagonal(const float* gram, std::int64_t width, float* out, Stream stream) {
  return enqueue(diagonal_kernel, element_blocks(width), kPlainThreads, stream, gram, width, false, out);
}
int normalise(const float* gram, std::int64_t width, float* diagonal, void* normalised, Stream stream) {
  if (const int status =
          enqueue(diagonal_kernel, element_blocks(width), kPlainThreads, stream, gram, width, true, diagonal);
      status != 0) {
    return status;
  }
  return enqueue(normalise_kernel, element_blocks(width * width), kPlainThreads, stream, gram, width, diagonal,
                 static_cast<std::uint16_t*>(normalised));
}
std::int64_t magnitude_parts(std::int64_t rows) { return (rows + kMagnitudeRows - 1) / kMagnitudeRows; }
int add_relative_magnitudes(const float* weights, std::int64_t rows, std::int64_t width, std::int64_t group_size,
                            double* partial, double* sums, Stream stream) {
  const std::int64_t parts = magnitude_parts(rows);
  if (const int status = enqueue(magnitudes_kernel, warp_blocks(parts * (width / group_size)), kPlainThreads, stream,
                                 weights, rows, width, group_size, partial);
      status != 0) {
    return status;
  }
  return enqueue(add_parts_kernel, element_blocks(width), kPlainThreads, stream, partial, parts, width, sums);
}
int scale_columns(float* weights, std::int64_t rows, std::int64_t width, const float* channel_scale, Stream stream) {
  return enqueue(scale_columns_kernel, element_blocks(rows * width), kPlainThreads, stream, weights, rows * width,
                 width, channel_scale);
}
int scale_gram(float* gram, std::int64_t width, const float* channel_scale, Stream stream) {
  return enqueue(scale_gram_kernel, element_blocks(width * width), kPlainThreads, stream, gram, width, channel_scale);
}

}  // namespace awq::kernels::cuda::search
