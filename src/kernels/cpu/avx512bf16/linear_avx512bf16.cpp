// bf16 weights times bf16 inputs with vdpbf16ps: both products of a pair are exact in binary32, are added to the sum
// one after the other and round to nearest even; numbers below the smallest normal one count as zero. On Zen 4 it does
// twice the work of a multiply-add, and neither factor has to be widened.
//
// Built with AVX-512 F, BW, VL, DQ, VNNI and BF16: kernel headers and intrinsics only.
#include "kernels/cpu/avx512bf16/linear_avx512bf16.h"

#include <immintrin.h>

#include "kernels/cpu/dense_tile.h"

namespace awq::kernels::avx512bf16 {
namespace {

#include "kernels/cpu/dense_sums512.h"

/// Lane i of the sums takes inputs 2 i and 2 i + 1 of every 32.
struct Vector {
  static constexpr std::int64_t kLanes = 32;
  static constexpr int kOutputs[] = {2, 8, 8, 6};
  using Floats = __m512;
  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats multiply_add(__m512bh inputs, __m512bh weights, Floats sums) {
    return _mm512_dpbf16_ps(sums, inputs, weights);
  }
  static __m512bh load(const void* p) { return as_bf16(_mm512_loadu_si512(p)); }
  static __m512bh load_some(const void* p, std::int64_t count) {
    return as_bf16(_mm512_maskz_loadu_epi16(static_cast<__mmask32>((std::uint64_t{1} << count) - 1), p));
  }
  template <int kCount>
  static void sums(const Floats* v, float* out) {
    sums_of_lanes<kCount>(v, out);
  }

 private:
  static __m512bh as_bf16(__m512i v) { return reinterpret_cast<__m512bh>(v); }
};

struct Load {
  static constexpr std::int64_t kBytes = 2;
  using Input = std::uint16_t;
  static const Input* inputs(const LinearArgs& a) { return a.x_bf16; }
  static __m512bh load(const char* p) { return Vector::load(p); }
  static __m512bh load_some(const char* p, std::int64_t count) { return Vector::load_some(p, count); }
};

void round_inputs(const float* x, std::int64_t count, std::uint16_t* out) noexcept {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i))));
  }
  if (i < count) {
    const auto mask = static_cast<__mmask16>((1U << (count - i)) - 1);
    _mm256_mask_storeu_epi16(out + i, mask,
                             reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + i))));
  }
}

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kBf16 = {"linear_bf16_bf16_f32_avx512bf16", WeightKind::kBf16, 3, always,
                            dense_run<Vector, Load>,           round_inputs};

}  // namespace awq::kernels::avx512bf16
