#include "tensor/convert.h"

#include <cstring>

#include "base/check.h"
#include "base/float16.h"

namespace awq {
namespace {

template <typename Half>
Half load_half(const std::byte* from, std::size_t i) {
  Half value;
  std::memcpy(&value, from + i * sizeof(Half), sizeof(Half));
  return value;
}

}  // namespace

void widen_to_float(DType dtype, std::span<const std::byte> from, std::span<float> to) {
  AWQ_CHECK(is_float_weight(dtype) && from.size() == to.size() * (dtype_bits(dtype) / 8));
  if (to.empty()) return;
  const auto count = static_cast<std::ptrdiff_t>(to.size());
  const std::byte* source = from.data();
  float* target = to.data();
  switch (dtype) {
    case DType::kF32:
      std::memcpy(target, source, from.size());
      break;
    case DType::kBf16:
      for (std::ptrdiff_t i = 0; i < count; ++i)
        target[i] = to_float(load_half<Bf16>(source, static_cast<std::size_t>(i)));
      break;
    default:
      for (std::ptrdiff_t i = 0; i < count; ++i)
        target[i] = to_float(load_half<F16>(source, static_cast<std::size_t>(i)));
  }
}

void narrow_from_float(DType dtype, std::span<const float> from, std::span<std::byte> to) {
  AWQ_CHECK(is_float_weight(dtype) && to.size() == from.size() * (dtype_bits(dtype) / 8));
  if (from.empty()) return;
  if (dtype == DType::kF32) {
    std::memcpy(to.data(), from.data(), to.size());
    return;
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::uint16_t bits = dtype == DType::kBf16 ? to_bf16(from[i]).bits : to_f16(from[i]).bits;
    std::memcpy(to.data() + 2 * i, &bits, 2);
  }
}

}  // namespace awq
