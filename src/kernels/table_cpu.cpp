#include "kernels/api/linear.h"
#include "kernels/ref/linear_ref.h"
#if defined(__x86_64__)
#include "kernels/cpu/avx2/linear_avx2.h"
#endif

namespace awq::kernels {

const LinearKernel* linear_kernels_cpu() {
  static const LinearKernel kTable[] = {
#if defined(__x86_64__)
    avx2::kU4,
    avx2::kBf16,
    avx2::kF16,
    avx2::kF32,
#endif
    ref::kU4,
    ref::kBf16,
    ref::kF16,
    ref::kF32,
    {nullptr, WeightKind::kF32, 0, nullptr, nullptr},
  };
  return kTable;
}

void pack_u4_row(const std::uint8_t* codes, std::int64_t k, std::uint8_t* packed) noexcept {
  for (std::int64_t block = 0; block < k; block += 32) {
    for (std::int64_t j = 0; j < 16; ++j) {
      const std::uint8_t low = block + j < k ? codes[block + j] : 0;
      const std::uint8_t high = block + j + 16 < k ? codes[block + j + 16] : 0;
      packed[block / 2 + j] = static_cast<std::uint8_t>(low | (high << 4));
    }
  }
}

void unpack_u4_row(const std::uint8_t* packed, std::int64_t k, std::uint8_t* codes) noexcept {
  for (std::int64_t i = 0; i < k; ++i) {
    const std::uint8_t byte = packed[i / 32 * 16 + i % 16];
    codes[i] = i % 32 < 16 ? byte & 15 : static_cast<std::uint8_t>(byte >> 4);
  }
}

}  // namespace awq::kernels
