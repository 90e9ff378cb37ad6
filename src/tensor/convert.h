#pragma once

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace awq {

/// Widens stored elements to binary32 (exact). `from` holds to.size() elements of `dtype`: F32, F16 or BF16.
void widen_to_float(DType dtype, std::span<const std::byte> from, std::span<float> to);

/// Narrows binary32 to `dtype` (F32, F16, BF16), round to nearest, ties to even.
void narrow_from_float(DType dtype, std::span<const float> from, std::span<std::byte> to);

}  // namespace awq
