// Range search: the candidates of a group, and the choice among them.

#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::search {
namespace {

/// The candidates of a row: a list, or the neighbours of its best range.
struct CoarseList {
  Shrinks shrinks;
  __device__ int count() const { return shrinks.count; }
  /// False where the candidate is none.
  __device__ bool get(const RangeBest&, int i, float& low, float& high) const {
    low = shrinks.low[i];
    high = shrinks.high[i];
    return true;
  }
};

struct FineList {
  int number;
  float step, smallest;
  bool symmetric;
  __device__ int count() const { return number; }
  __device__ bool get(const RangeBest& best, int i, float& low, float& high) const {
    // (-1, -1), (-1, 0) .. (1, 1) without (0, 0); symmetric: (-1, -1), (1, 1)
    const int place = symmetric ? i * 8 : (i < 4 ? i : i + 1);
    low = best.low + step * static_cast<float>(place / 3 - 1);
    high = best.high + step * static_cast<float>(place % 3 - 1);
    return low <= 1 && high <= 1 && low >= smallest && high >= smallest;
  }
};

struct CandidateFit {
  bool valid;
  float low, high;  // what is left of the range
  Fit fit;
};

template <class List>
__device__ CandidateFit candidate(const RangeTask& task, const List& list, std::int64_t row, int index) {
  CandidateFit out{};
  out.valid = list.get(task.best[row], index, out.low, out.high);
  if (!out.valid) return out;
  const float* w = task.weights + row * task.like.width + task.begin;
  float low = w[0];
  float high = w[0];
  for (std::int64_t k = this_lane(); k < task.like.group_size; k += kPlainWarp) {
    low = w[k] < low ? w[k] : low;
    high = w[k] > high ? w[k] : high;
  }
  out.fit = fit_range(warp_min(low) * out.low, warp_max(high) * out.high, task.like);
  return out;
}

template <class List>
__global__ void fill_kernel(RangeTask task, List list) {
  const std::int64_t row = this_warp() / list.count();
  const int index = static_cast<int>(this_warp() % list.count());
  if (row >= task.rows) return;
  const std::int64_t size = task.like.group_size;
  const float* w = task.weights + row * task.like.width + task.begin;
  float* change = task.change + this_warp() * size;
  const CandidateFit c = candidate(task, list, row, index);
  const float largest = largest_code(task.like.bits);
  for (std::int64_t k = this_lane(); k < size; k += kPlainWarp)
    change[k] = c.valid ? (code_of(w[k], c.fit.scale, c.fit.zero, largest) - c.fit.zero) * c.fit.scale - w[k] : 0.0F;
}

template <class List>
__global__ void take_kernel(RangeTask task, List list, const float* product, bool first) {
  const std::int64_t row = this_warp();
  if (row >= task.rows) return;
  const std::int64_t size = task.like.group_size;
  RangeBest best = task.best[row];
  if (first) best.zero_point = -1;
  for (int index = 0; index < list.count(); ++index) {
    const CandidateFit c = candidate(task, list, row, index);
    if (!c.valid) continue;
    const std::int64_t at = (row * list.count() + index) * size;
    double loss = 0;
    for (std::int64_t k = this_lane(); k < size; k += kPlainWarp) loss += task.change[at + k] * product[at + k];
    loss = warp_sum(loss);
    if (best.zero_point < 0 || loss < best.loss)
      best = {loss, c.low, c.high, c.fit.scale, static_cast<std::int32_t>(c.fit.zero)};
  }
  __syncwarp();  // the candidates of all lanes were made from what was best before
  if (this_lane() == 0) task.best[row] = best;
}

__global__ void store_kernel(RangeTask task) {
  const std::int64_t row = this_element();
  if (row >= task.rows) return;
  const std::int64_t at = row * groups_of(task.like) + task.begin / task.like.group_size;
  task.like.scales[at] = task.best[row].scale;
  task.like.zero_points[at] = static_cast<std::uint8_t>(task.best[row].zero_point);
}

template <class List>
int fill(const RangeTask& task, const List& list, int count, Stream stream) {
  return enqueue(fill_kernel<List>, warp_blocks(task.rows * count), kPlainThreads, stream, task, list);
}
template <class List>
int take(const RangeTask& task, const List& list, const float* product, bool first, Stream stream) {
  return enqueue(take_kernel<List>, warp_blocks(task.rows), kPlainThreads, stream, task, list, product, first);
}

}  // namespace

int fill_coarse(const RangeTask& task, const Shrinks& shrinks, Stream stream) {
  return fill(task, CoarseList{shrinks}, shrinks.count, stream);
}
int fill_fine(const RangeTask& task, int count, float step, float smallest, Stream stream) {
  return fill(task, FineList{count, step, smallest, task.like.symmetric}, count, stream);
}
int take_coarse(const RangeTask& task, const Shrinks& shrinks, const float* product, Stream stream) {
  return take(task, CoarseList{shrinks}, product, true, stream);
}
int take_fine(const RangeTask& task, int count, float step, float smallest, const float* product, Stream stream) {
  return take(task, FineList{count, step, smallest, task.like.symmetric}, product, false, stream);
}
int store_best(const RangeTask& task, Stream stream) {
  return enqueue(store_kernel, element_blocks(task.rows), kPlainThreads, stream, task);
}

}  // namespace awq::kernels::cuda::search
