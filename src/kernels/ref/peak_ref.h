#pragma once

#include "kernels/api/peak.h"

namespace awq::kernels::ref {

/// With the vectors that every processor of this kind has (SSE2, NEON).
extern const PeakKernel kPeakF32;

}  // namespace awq::kernels::ref
