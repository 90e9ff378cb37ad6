#include "kernels/api/peak.h"
#include "kernels/ref/peak_ref.h"
#if defined(__x86_64__)
#include "kernels/cpu/amx/peak_amx.h"
#include "kernels/cpu/avx2/peak_avx2.h"
#include "kernels/cpu/avx512/peak_avx512.h"
#endif

namespace awq::kernels {

const PeakKernel* peak_kernels_cpu() {
  static const PeakKernel kTable[] = {
#if defined(__x86_64__)
    amx::kPeakBf16,
    amx::kPeakInt8,
    avx512::kPeakF32,
    avx512::kPeakBf16,
    avx512::kPeakInt8,
    avx2::kPeakF32,
    avx2::kPeakInt8,
#endif
    ref::kPeakF32,
    {nullptr, nullptr, 0, false, 0, nullptr},
  };
  return kTable;
}

}  // namespace awq::kernels
