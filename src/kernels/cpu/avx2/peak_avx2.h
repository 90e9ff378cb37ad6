#pragma once

#include "kernels/api/peak.h"

namespace awq::kernels::avx2 {

extern const PeakKernel kPeakF32;
extern const PeakKernel kPeakInt8;

}  // namespace awq::kernels::avx2
