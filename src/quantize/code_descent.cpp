#include "quantize/code_descent.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/stop.h"
#include "ops/gemm.h"
#include "quant/group_quant.h"

namespace awq::quantize {
namespace {

constexpr std::int64_t kRowChunk = 512;
constexpr std::int64_t kBlock = 128;
// A chunk of rows is done when fewer than one code in this many has changed in a pass.
constexpr std::int64_t kSettled = 2000;

/// Eight partial sums, so that the order is fixed and vectors fit.
float dot(const float* a, const float* b, std::int64_t count) {
  float part[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int l = 0; l < 8; ++l) part[l] += a[i + l] * b[i + l];
  }
  for (; i < count; ++i) part[0] += a[i] * b[i];
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

void add_scaled(float* to, float factor, const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += factor * from[i];
}

/// D of rows [first, first + count).
void fill_change(const float* weights, const quant::QuantizedTensor& tensor, std::int64_t first, std::int64_t count,
                 float* change) {
  const auto width = static_cast<std::int64_t>(tensor.in_features);
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) {
    const auto n = static_cast<std::uint64_t>(first + i);
    float* row = change + i * width;
    quant::dequantize_rows(tensor, n, n + 1, row);
    const float* w = weights + (first + i) * width;
    for (std::int64_t k = 0; k < width; ++k) row[k] -= w[k];
  }
}

/// One block of columns of one row: `change` and `gradient` (D H at these columns) are kept up to date.
struct RowBlock {
  const float* weights;
  const float* gram;  ///< the block of H, leading dimension `stride`
  std::int64_t stride;
  std::int64_t size;
  float* change;
  float* gradient;
  std::uint8_t* codes;

  /// Moves every code to its best place given all others. Returns how many moved.
  std::int64_t move_codes(std::int64_t begin, std::int64_t end, float scale, float zero, float largest) const {
    std::int64_t moved = 0;
    for (std::int64_t j = begin; j < end; ++j) {
      const float h = gram[j * stride + j];
      if (!(h > 0)) continue;
      const float best = quant::code_of(weights[j] + change[j] - gradient[j] / h, scale, zero, largest);
      const float step = best - static_cast<float>(codes[j]);
      if (step == 0) continue;
      codes[j] = static_cast<std::uint8_t>(best);
      change[j] += step * scale;
      add_scaled(gradient, step * scale, gram + j * stride, size);
      ++moved;
    }
    return moved;
  }

  /// Least-squares scale for the codes of columns [begin, end), with the zero point as it is or one step aside.
  /// `row_sums` are the sums of the rows of the group's block of H, `total` the sum of all of it.
  void refit(std::int64_t begin, std::int64_t end, const float* row_sums, double total, float& scale,
             std::uint8_t& zero_point, const quant::Scheme& scheme, DType scale_dtype) const {
    const std::int64_t count = end - begin;
    std::array<float, kBlock> level, product;
    const float zero = static_cast<float>(zero_point);
    std::fill_n(product.begin(), count, 0.0F);
    for (std::int64_t j = 0; j < count; ++j) {
      level[static_cast<std::size_t>(j)] = static_cast<float>(codes[begin + j]) - zero;
      add_scaled(product.data(), level[static_cast<std::size_t>(j)], gram + (begin + j) * stride + begin, count);
    }
    const double lhl = dot(product.data(), level.data(), count);   // levels H levels
    const double lh1 = dot(level.data(), row_sums, count);         // levels H 1
    const double gl = dot(gradient + begin, level.data(), count);  // gradient . levels
    double g1 = 0;
    for (std::int64_t j = begin; j < end; ++j) g1 += gradient[j];
    float best_scale = scale;
    int best_shift = 0;
    double best = 0;
    for (const int shift : {0, -1, 1}) {
      const int moved = static_cast<int>(zero_point) + shift;
      if (shift != 0 && (scheme.symmetric || moved < 0 || moved > quant::max_code(scheme.bits))) continue;
      // Levels become level - shift; the new weights are s (level - shift), the old ones scale * level.
      const double curvature = lhl - 2 * shift * lh1 + static_cast<double>(shift * shift) * total;
      if (!(curvature > 0)) continue;
      const double cross = scale * (lhl - shift * lh1);
      const double slope = gl - shift * g1;
      const float s = quant::stored_scale(static_cast<float>((cross - slope) / curvature), scale_dtype);
      if (!std::isnormal(s) || s <= 0) continue;
      // Loss change of d = s (level - shift) - scale level: 2 gradient . d + d H d.
      const double loss = 2 * (s * slope - scale * gl) + s * s * curvature - 2 * s * cross + scale * scale * lhl;
      if (loss < best) {
        best = loss;
        best_scale = s;
        best_shift = shift;
      }
    }
    // What is gained must be more than what the sums may be wrong by.
    if (!(best < -1e-5 * scale * scale * lhl)) return;
    for (std::int64_t j = 0; j < count; ++j) {
      const float before = scale * level[static_cast<std::size_t>(j)];
      const float after = best_scale * (level[static_cast<std::size_t>(j)] - static_cast<float>(best_shift));
      change[begin + j] = after - weights[begin + j];
      add_scaled(gradient, after - before, gram + (begin + j) * stride, size);
    }
    scale = best_scale;
    zero_point = static_cast<std::uint8_t>(static_cast<int>(zero_point) + best_shift);
  }
};

/// Sums of the rows of every group's own block of H [K], and the sum of each block [G].
struct GroupSums {
  std::vector<float> rows;
  std::vector<double> totals;
  GroupSums(const float* gram, std::int64_t width, std::int64_t group_size)
      : rows(static_cast<std::size_t>(width)), totals(static_cast<std::size_t>(width / group_size)) {
    for (std::int64_t k = 0; k < width; ++k) {
      const float* row = gram + k * width + k / group_size * group_size;
      double sum = 0;
      for (std::int64_t j = 0; j < group_size; ++j) sum += row[j];
      rows[static_cast<std::size_t>(k)] = static_cast<float>(sum);
      totals[static_cast<std::size_t>(k / group_size)] += sum;
    }
  }
};

/// Columns [begin, begin + size) of D H: `change` is D [count, width], `gram` H [width, width], `out` [count, kBlock].
void multiply(const float* change, std::int64_t count, const float* gram, std::int64_t width, std::int64_t begin,
              std::int64_t size, float* out) {
  ops::gemm(ops::GemmF32{.m = count,
                         .n = size,
                         .k = width,
                         .a = change,
                         .lda = width,
                         .b = gram + begin,
                         .ldb = width,
                         .c = out,
                         .ldc = kBlock});
}

}  // namespace

void descend(const float* weights, const float* gram, const DescentOptions& options, quant::QuantizedTensor& tensor) {
  const auto rows = static_cast<std::int64_t>(tensor.out_features);
  const auto width = static_cast<std::int64_t>(tensor.in_features);
  const auto groups = static_cast<std::int64_t>(tensor.groups());
  const std::int64_t group_size = width / groups;
  const float largest = static_cast<float>(quant::max_code(tensor.scheme.bits));
  // A group that is cut by the blocks (whole rows) keeps its scale.
  const bool refit = options.refit && group_size <= kBlock && kBlock % group_size == 0;
  const GroupSums sums(gram, width, refit ? group_size : width);
  AlignedBuffer<float> change(static_cast<std::size_t>(std::min(kRowChunk, rows) * width));
  AlignedBuffer<float> gradient(static_cast<std::size_t>(std::min(kRowChunk, rows) * kBlock));
  for (std::int64_t first = 0; first < rows; first += kRowChunk) {
    const std::int64_t count = std::min(kRowChunk, rows - first);
    fill_change(weights, tensor, first, count, change.data());
    for (int pass = 0; pass < options.passes; ++pass) {
      std::int64_t moved = 0;
      for (std::int64_t begin = 0; begin < width; begin += kBlock) {
        stop_flag().throw_if_requested();
        const std::int64_t size = std::min(kBlock, width - begin);
        multiply(change.data(), count, gram, width, begin, size, gradient.data());
#pragma omp parallel for schedule(static) reduction(+ : moved)
        for (std::int64_t i = 0; i < count; ++i) {
          const std::int64_t n = first + i;
          const RowBlock block{.weights = weights + n * width + begin,
                               .gram = gram + begin * width + begin,
                               .stride = width,
                               .size = size,
                               .change = change.data() + i * width + begin,
                               .gradient = gradient.data() + i * kBlock,
                               .codes = tensor.codes.data() + n * width + begin};
          for (std::int64_t j = 0; j < size;) {
            const std::int64_t group = (begin + j) / group_size;
            const std::int64_t end = std::min(size, (group + 1) * group_size - begin);
            float& scale = tensor.scales[static_cast<std::size_t>(n * groups + group)];
            std::uint8_t& zero = tensor.zero_points[static_cast<std::size_t>(n * groups + group)];
            if (refit && pass + 1 < options.passes) {
              block.refit(j, end, sums.rows.data() + begin + j, sums.totals[static_cast<std::size_t>(group)], scale,
                          zero, tensor.scheme, tensor.scale_dtype);
            }
            moved += block.move_codes(j, end, scale, static_cast<float>(zero), largest);
            j = end;
          }
        }
      }
      if (moved * kSettled < count * width) break;
    }
  }
}

void row_losses(const float* weights, const float* gram, const quant::QuantizedTensor& tensor, double* out) {
  const auto rows = static_cast<std::int64_t>(tensor.out_features);
  const auto width = static_cast<std::int64_t>(tensor.in_features);
  AlignedBuffer<float> change(static_cast<std::size_t>(std::min(kRowChunk, rows) * width));
  AlignedBuffer<float> product(static_cast<std::size_t>(std::min(kRowChunk, rows) * kBlock));
  std::fill_n(out, rows, 0.0);
  for (std::int64_t first = 0; first < rows; first += kRowChunk) {
    const std::int64_t count = std::min(kRowChunk, rows - first);
    fill_change(weights, tensor, first, count, change.data());
    for (std::int64_t begin = 0; begin < width; begin += kBlock) {
      const std::int64_t size = std::min(kBlock, width - begin);
      multiply(change.data(), count, gram, width, begin, size, product.data());
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < count; ++i)
        out[first + i] += dot(change.data() + i * width + begin, product.data() + i * kBlock, size);
    }
  }
}

}  // namespace awq::quantize
