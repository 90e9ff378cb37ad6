#include "kernels/api/linear.h"
#include "kernels/api/packed.h"
#include "kernels/ref/linear_ref.h"
#include "kernels/ref/packed_ref.h"
#if defined(__x86_64__)
#include "kernels/cpu/amx/packed_amx.h"
#include "kernels/cpu/avx2/activations_avx2.h"
#include "kernels/cpu/avx2/linear_avx2.h"
#include "kernels/cpu/avx2/packed_avx2.h"
#include "kernels/cpu/avx2/packed_float_avx2.h"
#include "kernels/cpu/avx512/linear_avx512.h"
#include "kernels/cpu/avx512/packed_avx512.h"
#include "kernels/cpu/avx512/packed_float_avx512.h"
#include "kernels/cpu/avx512bf16/linear_avx512bf16.h"
#include "kernels/cpu/avx512vnni/packed_avx512vnni.h"
#include "kernels/cpu/avx512vnni/packed_avx512vnni256.h"
#include "kernels/cpu/avx512vnni/packed_avx512vnni_pairs.h"
#include "kernels/cpu/avxvnni/packed_avxvnni.h"
#elif defined(__aarch64__)
#include "kernels/cpu/neon/activations_neon.h"
#include "kernels/cpu/neon/linear_neon.h"
#include "kernels/cpu/neon/packed_float_neon.h"
#include "kernels/cpu/neon/packed_neon.h"
#include "kernels/cpu/neon_dotprod/packed_neon_dotprod.h"
#include "kernels/cpu/neon_i8mm/packed_neon_i8mm.h"
#include "kernels/cpu/neon_i8mm/packed_neon_i8mm_many.h"
#endif

namespace awq::kernels {

const LinearKernel* linear_kernels_cpu() {
  static const LinearKernel kTable[] = {
#if defined(__x86_64__)
    avx512bf16::kBf16,
    avx512::kBf16,
    avx512::kF16,
    avx512::kF32,
    avx2::kBf16,
    avx2::kF16,
    avx2::kF32,
#elif defined(__aarch64__)
    neon::kBf16,
    neon::kF16,
    neon::kF32,
#endif
    ref::kBf16,
    ref::kF16,
    ref::kF32,
    {nullptr, WeightKind::kF32, 0, nullptr, nullptr},
  };
  return kTable;
}

const PackedKernel* packed_kernels_cpu() {
  // clang-format off
  static const PackedKernel kTable[] = {
#if defined(__x86_64__)
      amx::kI8U4, amx::kI15U4, amx::kI8U8, amx::kI15U8,
      avx512vnni::kI8U4Pairs,
      avx512vnni::kI8U4Many, avx512vnni::kI8U8Many,
      avx512vnni::kI8U4, avx512vnni::kI15U4, avx512vnni::kI8U8, avx512vnni::kI15U8,
      // The 256-bit form shares its source with the next set, and so tests it where that cannot run.
      avx512vnni::kI8U4256, avx512vnni::kI15U4256, avx512vnni::kI8U8256, avx512vnni::kI15U8256,
      avxvnni::kI8U4, avxvnni::kI15U4, avxvnni::kI8U8, avxvnni::kI15U8,
      avx512::kI8U4, avx512::kI15U4, avx512::kI8U8, avx512::kI15U8,
      avx2::kI8U4, avx2::kI15U4, avx2::kI8U8, avx2::kI15U8,
#elif defined(__aarch64__)
      neon_i8mm::kI8U4Many, neon_i8mm::kI15U4Many, neon_i8mm::kI8U8Many, neon_i8mm::kI15U8Many,
      neon_i8mm::kI8U4, neon_i8mm::kI15U4, neon_i8mm::kI8U8, neon_i8mm::kI15U8,
      neon_dotprod::kI8U4, neon_dotprod::kI15U4, neon_dotprod::kI8U8, neon_dotprod::kI15U8,
      neon::kI8U4, neon::kI15U4, neon::kI8U8, neon::kI15U8,
#endif
      ref::kI8U4, ref::kI15U4, ref::kI8U8, ref::kI15U8,
      {nullptr, 0, 0, 0, CpuFeature::kNone, 0, false, 0, nullptr},
  };
  // clang-format on
  return kTable;
}

const PackedFloatKernel* packed_float_kernels_cpu() {
  static const PackedFloatKernel kTable[] = {
#if defined(__x86_64__)
    avx512::kPackedF32U4,
    avx512::kPackedF32U8,
    avx2::kPackedF32U4,
    avx2::kPackedF32U8,
#elif defined(__aarch64__)
    neon::kPackedF32U4,
    neon::kPackedF32U8,
#endif
    ref::kPackedF32U4,
    ref::kPackedF32U8,
    {nullptr, 0, 0, nullptr},
  };
  return kTable;
}

const ActivationQuantizer* activation_quantizers_cpu() {
  static const ActivationQuantizer kTable[] = {
#if defined(__x86_64__)
    avx2::kQuantizeActivations,
#elif defined(__aarch64__)
    neon::kQuantizeActivations,
#endif
    ref::kQuantizeActivations,
    {nullptr, 0, nullptr},
  };
  return kTable;
}

}  // namespace awq::kernels
