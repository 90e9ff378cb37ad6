// What a build without CUDA has in place of the quantizer's kernels (see no_cuda.cpp).

#include "kernels/api/cuda_calibrate.h"
#include "kernels/api/cuda_search.h"

namespace awq::kernels::cuda {
namespace {

constexpr int kNotSupported = 801;  // cudaErrorNotSupported

}  // namespace

namespace calibrate {

int widen(const void*, std::int64_t, float*, Stream) { return kNotSupported; }
int to_bf16(const float*, std::int64_t, void*, Stream) { return kNotSupported; }
int add(float*, const float*, std::int64_t, Stream) { return kNotSupported; }
int subtract(float*, const float*, std::int64_t, Stream) { return kNotSupported; }
int add_bias(float*, const float*, std::int64_t, std::int64_t, Stream) { return kNotSupported; }
int rms_norm(const float*, const float*, float, std::int64_t, std::int64_t, float*, Stream) { return kNotSupported; }
int silu_multiply(float*, const float*, std::int64_t, Stream) { return kNotSupported; }
int rotate(float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, const float*, const float*, Stream) {
  return kNotSupported;
}
int attention(const Attention&, Stream) { return kNotSupported; }
int add_magnitudes(const float*, std::int64_t, std::int64_t, double*, Stream) { return kNotSupported; }
int mirror(float*, std::int64_t, Stream) { return kNotSupported; }
int residual_weights(const float*, std::int64_t, std::int64_t, float*, Stream) { return kNotSupported; }
int weigh_gap(float*, const float*, const float*, std::int64_t, std::int64_t, Stream) { return kNotSupported; }
int weigh(float*, const float*, std::int64_t, std::int64_t, Stream) { return kNotSupported; }

}  // namespace calibrate

namespace search {

int round_groups(const float*, const Codes&, Stream) { return kNotSupported; }
int encode(const float*, const Codes&, Stream) { return kNotSupported; }
int expand(const Codes&, bool, void*, Stream) { return kNotSupported; }
int count_clipped(const float*, const Codes&, std::int32_t*, Stream) { return kNotSupported; }
int take_weights(const float*, std::int64_t, std::int64_t, const Change&, Stream) { return kNotSupported; }
int take_change(const float*, const Codes&, std::int64_t, std::int64_t, const Change&, Stream) { return kNotSupported; }
int take_scaled_change(const float*, const float*, std::int64_t, const Codes&, const Change&, Stream) {
  return kNotSupported;
}
int row_dots(const void*, bool, const float*, std::int64_t, std::int64_t, double*, Stream) { return kNotSupported; }
int normalise(const float*, std::int64_t, float*, void*, Stream) { return kNotSupported; }
int take_diagonal(const float*, std::int64_t, float*, Stream) { return kNotSupported; }
std::int64_t magnitude_parts(std::int64_t) { return 0; }
int add_relative_magnitudes(const float*, std::int64_t, std::int64_t, std::int64_t, double*, double*, Stream) {
  return kNotSupported;
}
int scale_columns(float*, std::int64_t, std::int64_t, const float*, Stream) { return kNotSupported; }
int scale_gram(float*, std::int64_t, const float*, Stream) { return kNotSupported; }
int fill_coarse(const RangeTask&, const Shrinks&, Stream) { return kNotSupported; }
int fill_fine(const RangeTask&, int, float, float, Stream) { return kNotSupported; }
int take_coarse(const RangeTask&, const Shrinks&, const float*, Stream) { return kNotSupported; }
int take_fine(const RangeTask&, int, float, float, const float*, Stream) { return kNotSupported; }
int store_best(const RangeTask&, Stream) { return kNotSupported; }
int gather_damped(const float*, const std::int32_t*, std::int64_t, float, float*, Stream) { return kNotSupported; }
int factorize_block(float*, std::int64_t, std::int64_t, double*, float*, std::int32_t*, Stream) {
  return kNotSupported;
}
int transpose_block(const float*, std::int64_t, std::int64_t, float*, Stream) { return kNotSupported; }
int divide_by_transposed(float*, std::int64_t, std::int64_t, const float*, std::int64_t, Stream) {
  return kNotSupported;
}
int divide_by(float*, std::int64_t, std::int64_t, const float*, std::int64_t, std::int64_t, Stream) {
  return kNotSupported;
}
int clear_lower(float*, std::int64_t, Stream) { return kNotSupported; }
int feed_back(const FeedbackBlock&, Stream) { return kNotSupported; }
int group_sums(const float*, std::int64_t, std::int64_t, double*, float*, double*, Stream) { return kNotSupported; }
int descend(const DescentBlock&, Stream) { return kNotSupported; }
int settle(std::int64_t, std::int64_t, std::int64_t, std::int32_t*, std::int32_t*, std::int32_t*, Stream) {
  return kNotSupported;
}

}  // namespace search

}  // namespace awq::kernels::cuda
