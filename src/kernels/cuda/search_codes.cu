// Error feedback and coordinate descent: a warp for each row, its block of columns in registers.

#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::search {
namespace {

constexpr int kLanes = static_cast<int>(kPlainWarp);
constexpr int kSlots = static_cast<int>(kBlock) / kLanes;  // columns that a lane holds: lane + 32 e

__global__ void feed_back_kernel(FeedbackBlock b) {
  const std::int64_t n = this_warp();
  if (n >= b.codes.rows) return;
  const std::int64_t width = b.codes.width;
  const float largest = largest_code(b.codes.bits);
  float error[kSlots], weight[kSlots], scale[kSlots], zero[kSlots], change[kSlots];
  std::int32_t channel[kSlots];
  int code[kSlots];
#pragma unroll
  for (int e = 0; e < kSlots; ++e) {
    const int column = this_lane() + e * kLanes;
    const bool inside = column < b.size;
    const std::int64_t position = b.begin + (inside ? column : 0);
    channel[e] = b.order[position];
    const std::int64_t group = n * groups_of(b.codes) + channel[e] / b.codes.group_size;
    scale[e] = b.codes.scales[group];
    zero[e] = static_cast<float>(b.codes.zero_points[group]);
    weight[e] = b.zeroed[position] != 0 ? 0.0F : b.weights[n * width + channel[e]];
    error[e] = b.carried != nullptr && inside ? b.carried[n * kBlock + column] : 0.0F;
    change[e] = 0;
    code[e] = 0;
  }
#pragma unroll
  for (int own = 0; own < kSlots; ++own) {
#pragma unroll 1
    for (int lane = 0; lane < kLanes; ++lane) {
      const int j = own * kLanes + lane;
      if (j >= b.size) break;
      const float* row = b.factor + (b.begin + j) * width + b.begin;
      // Every lane computes for a column of its own; that of `lane` is the one that counts.
      const float best = code_of(weight[own] - error[own] / row[j], scale[own], zero[own], largest);
      const float d = __shfl_sync(kAllLanes, (best - zero[own]) * scale[own] - weight[own], lane);
      if (this_lane() == lane) {
        code[own] = static_cast<int>(best);
        change[own] = d;
      }
#pragma unroll
      for (int e = 0; e < kSlots; ++e) {
        const int column = this_lane() + e * kLanes;
        if (column > j && column < b.size) error[e] += d * row[column];
      }
    }
  }
#pragma unroll
  for (int e = 0; e < kSlots; ++e) {
    const int column = this_lane() + e * kLanes;
    if (column >= b.size) continue;
    b.codes.codes[n * width + channel[e]] = static_cast<std::uint8_t>(code[e]);
    b.change[n * width + b.begin + column] = change[e];
  }
}

__global__ void group_row_sums_kernel(const float* gram, std::int64_t width, std::int64_t group_size, double* sums,
                                      float* rows) {
  const std::int64_t k = this_element();
  if (k >= width) return;
  const float* row = gram + k * width + k / group_size * group_size;
  double sum = 0;
  for (std::int64_t j = 0; j < group_size; ++j) sum += row[j];
  sums[k] = sum;
  rows[k] = static_cast<float>(sum);
}

__global__ void group_totals_kernel(const double* sums, std::int64_t groups, std::int64_t group_size, double* totals) {
  const std::int64_t g = this_element();
  if (g >= groups) return;
  double total = 0;
  for (std::int64_t j = 0; j < group_size; ++j) total += sums[g * group_size + j];
  totals[g] = total;
}

/// The block of columns of one row, spread over the lanes.
struct RowBlock {
  const DescentBlock& b;
  const float* gram;  ///< the block of H
  std::int64_t stride;
  float weight[kSlots], change[kSlots], gradient[kSlots];
  float code[kSlots];

  /// gradient += factor * row j of H
  __device__ void add_to_gradient(float factor, int j) {
    const float* row = gram + j * stride;
#pragma unroll
    for (int e = 0; e < kSlots; ++e) {
      const int column = this_lane() + e * kLanes;
      if (column < b.size) gradient[e] += factor * row[column];
    }
  }

  /// Moves every code of slots [first, last), columns up to `end`, to its best place given all others.
  __device__ int move_codes(int first, int last, std::int64_t end, float scale, float zero, float largest) {
    int moved = 0;
#pragma unroll
    for (int own = 0; own < kSlots; ++own) {
      if (own < first || own >= last) continue;
#pragma unroll 1
      for (int lane = 0; lane < kLanes; ++lane) {
        const int j = own * kLanes + lane;
        if (j >= end) break;
        const float h = gram[j * stride + j];
        if (!(h > 0)) continue;
        // Every lane computes for a column of its own; that of `lane` is the one that counts.
        const float best = code_of(weight[own] + change[own] - gradient[own] / h, scale, zero, largest);
        const float step = __shfl_sync(kAllLanes, best - code[own], lane);
        if (step == 0) continue;
        if (this_lane() == lane) {
          code[own] = best;
          change[own] += step * scale;
        }
        add_to_gradient(step * scale, j);
        ++moved;
      }
    }
    return moved;
  }

  /// Least-squares scale for the codes of a group, with the zero point as it is or one step aside.
  __device__ void refit(int first, int last, std::int64_t end, const float* row_sums, double total, float& scale,
                        float& zero) {
    float level[kSlots], product[kSlots];
#pragma unroll
    for (int e = 0; e < kSlots; ++e) {
      const bool inside = e >= first && e < last && this_lane() + e * kLanes < end;
      level[e] = inside ? code[e] - zero : 0.0F;
      product[e] = 0;
    }
#pragma unroll
    for (int own = 0; own < kSlots; ++own) {
      if (own < first || own >= last) continue;
#pragma unroll 1
      for (int lane = 0; lane < kLanes; ++lane) {
        const int j = own * kLanes + lane;
        if (j >= end) break;
        const float factor = __shfl_sync(kAllLanes, level[own], lane);
        const float* row = gram + j * stride;
#pragma unroll
        for (int e = 0; e < kSlots; ++e) {
          const int column = this_lane() + e * kLanes;
          if (e >= first && e < last && column < end) product[e] += factor * row[column];
        }
      }
    }
    float parts[3] = {};
    double slope_sum = 0;
#pragma unroll
    for (int e = 0; e < kSlots; ++e) {
      const int column = this_lane() + e * kLanes;
      if (e < first || e >= last || column >= end) continue;
      parts[0] += product[e] * level[e];
      parts[1] += level[e] * row_sums[column];
      parts[2] += gradient[e] * level[e];
      slope_sum += gradient[e];
    }
    const double lhl = warp_sum(parts[0]);  // levels H levels
    const double lh1 = warp_sum(parts[1]);  // levels H 1
    const double gl = warp_sum(parts[2]);   // gradient . levels
    const double g1 = warp_sum(slope_sum);
    float best_scale = scale;
    int best_shift = 0;
    double best = 0;
    const int zero_point = static_cast<int>(zero);
    for (int turn = 0; turn < 3; ++turn) {
      const int shift = turn == 0 ? 0 : turn == 1 ? -1 : 1;
      const int moved = zero_point + shift;
      if (shift != 0 && (b.codes.symmetric || moved < 0 || moved >= 1 << b.codes.bits)) continue;
      // Levels become level - shift; the new weights are s (level - shift), the old ones scale * level.
      const double curvature = lhl - 2 * shift * lh1 + static_cast<double>(shift * shift) * total;
      if (!(curvature > 0)) continue;
      const double cross = scale * (lhl - shift * lh1);
      const double slope = gl - shift * g1;
      const float s = stored_scale(static_cast<float>((cross - slope) / curvature), b.codes.scale_type);
      if (!(s >= 0x1p-126F && s <= 0x1.fffffep127F)) continue;
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
    float difference[kSlots];
#pragma unroll
    for (int e = 0; e < kSlots; ++e) {
      const bool inside = e >= first && e < last && this_lane() + e * kLanes < end;
      const float before = scale * level[e];
      const float after = best_scale * (level[e] - static_cast<float>(best_shift));
      difference[e] = after - before;
      if (inside) change[e] = after - weight[e];
    }
#pragma unroll
    for (int own = 0; own < kSlots; ++own) {
      if (own < first || own >= last) continue;
#pragma unroll 1
      for (int lane = 0; lane < kLanes; ++lane) {
        const int j = own * kLanes + lane;
        if (j >= end) break;
        add_to_gradient(__shfl_sync(kAllLanes, difference[own], lane), j);
      }
    }
    scale = best_scale;
    zero = static_cast<float>(zero_point + best_shift);
  }
};

__global__ void descend_kernel(DescentBlock b) {
  const std::int64_t n = this_warp();
  if (n >= b.codes.rows || b.settled[n / kDescentRows] != 0) return;
  const std::int64_t width = b.codes.width;
  const std::int64_t at = n * width + b.begin;
  RowBlock row{.b = b, .gram = b.gram + b.begin * width + b.begin, .stride = width};
#pragma unroll
  for (int e = 0; e < kSlots; ++e) {
    const int column = this_lane() + e * kLanes;
    const bool inside = column < b.size;
    row.weight[e] = inside ? b.weights[at + column] : 0.0F;
    row.change[e] = inside ? b.change[at + column] : 0.0F;
    row.gradient[e] = inside ? b.gradient[n * kBlock + column] : 0.0F;
    row.code[e] = inside ? static_cast<float>(b.codes.codes[at + column]) : 0.0F;
  }
  int moved = 0;
  for (int first = 0; first * kLanes < b.size;) {
    const std::int64_t group = (b.begin + first * kLanes) / b.codes.group_size;
    const std::int64_t group_end = (group + 1) * b.codes.group_size - b.begin;
    const std::int64_t end = b.size < group_end ? b.size : group_end;
    const int last = static_cast<int>((end + kLanes - 1) / kLanes);
    const std::int64_t place = n * groups_of(b.codes) + group;
    float scale = b.codes.scales[place];
    float zero = static_cast<float>(b.codes.zero_points[place]);
    __syncwarp();  // all lanes have read before one writes
    if (b.refit) {
      row.refit(first, last, end, b.row_sums + b.begin, b.totals[group], scale, zero);
      if (this_lane() == 0) {
        b.codes.scales[place] = scale;
        b.codes.zero_points[place] = static_cast<std::uint8_t>(zero);
      }
    }
    moved += row.move_codes(first, last, end, scale, zero, largest_code(b.codes.bits));
    first = last;
  }
#pragma unroll
  for (int e = 0; e < kSlots; ++e) {
    const int column = this_lane() + e * kLanes;
    if (column >= b.size) continue;
    b.change[at + column] = row.change[e];
    b.codes.codes[at + column] = static_cast<std::uint8_t>(row.code[e]);
  }
  if (moved != 0 && this_lane() == 0) atomicAdd(b.moved + n / kDescentRows, moved);
}

__global__ void settle_kernel(std::int64_t rows, std::int64_t width, std::int64_t settles_at, std::int32_t* moved,
                              std::int32_t* settled, std::int32_t* active) {
  std::int32_t left = 0;
  for (std::int64_t chunk = 0; chunk * kDescentRows < rows; ++chunk) {
    const std::int64_t rest = rows - chunk * kDescentRows;
    const std::int64_t count = rest < kDescentRows ? rest : kDescentRows;
    if (moved[chunk] * settles_at < count * width) settled[chunk] = 1;
    moved[chunk] = 0;
    left += settled[chunk] == 0 ? 1 : 0;
  }
  *active = left;
}

}  // namespace

int feed_back(const FeedbackBlock& block, Stream stream) {
  return enqueue(feed_back_kernel, warp_blocks(block.codes.rows), kPlainThreads, stream, block);
}
int group_sums(const float* gram, std::int64_t width, std::int64_t group_size, double* scratch, float* rows,
               double* totals, Stream stream) {
  if (const int status = enqueue(group_row_sums_kernel, element_blocks(width), kPlainThreads, stream, gram, width,
                                 group_size, scratch, rows);
      status != 0) {
    return status;
  }
  return enqueue(group_totals_kernel, element_blocks(width / group_size), kPlainThreads, stream, scratch,
                 width / group_size, group_size, totals);
}
int descend(const DescentBlock& block, Stream stream) {
  return enqueue(descend_kernel, warp_blocks(block.codes.rows), kPlainThreads, stream, block);
}
int settle(std::int64_t rows, std::int64_t width, std::int64_t settles_at, std::int32_t* moved, std::int32_t* settled,
           std::int32_t* active, Stream stream) {
  return enqueue(settle_kernel, 1, 1, stream, rows, width, settles_at, moved, settled, active);
}

}  // namespace awq::kernels::cuda::search
