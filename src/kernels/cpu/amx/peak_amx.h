#pragma once

#include "kernels/api/peak.h"

namespace awq::kernels::amx {

/// The process must have the permission to use tiles (request_tile_permission() of base/cpu_features.h).
extern const PeakKernel kPeakBf16;
extern const PeakKernel kPeakInt8;

}  // namespace awq::kernels::amx
