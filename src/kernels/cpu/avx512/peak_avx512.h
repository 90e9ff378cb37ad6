#pragma once

#include "kernels/api/peak.h"

namespace awq::kernels::avx512 {

extern const PeakKernel kPeakF32;
extern const PeakKernel kPeakBf16;
extern const PeakKernel kPeakInt8;

}  // namespace awq::kernels::avx512
