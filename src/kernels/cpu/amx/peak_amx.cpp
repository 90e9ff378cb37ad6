#include "kernels/cpu/amx/peak_amx.h"

#include <immintrin.h>

namespace awq::kernels::amx {
namespace {

/// Eight full tiles of 16 rows and 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// GCC 12 believes that _tile_loadconfig reads 8 bytes and drops the stores to the other 56.
void configure() noexcept {
  const TileConfig config;
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

/// Tiles 0-3 are sums, 4-5 and 6-7 the factors. Bytes that are no denormal, infinity or NaN in bf16: the arithmetic is
/// that of real numbers, as is the power that it draws.
void load_factors() noexcept {
  alignas(64) std::uint8_t bytes[16 * 64];
  for (int i = 0; i < 16 * 64; i += 2) {
    bytes[i] = static_cast<std::uint8_t>(i * 37 + 11);
    bytes[i + 1] = static_cast<std::uint8_t>(0x3D + (i % 6 == 0 ? 0x80 : 0));
  }
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, bytes, 64);
  _tile_loadd(5, bytes, 64);
  _tile_loadd(6, bytes, 64);
  _tile_loadd(7, bytes, 64);
}

float finish() noexcept {
  alignas(64) float sums[16 * 16];
  _tile_stored(0, sums, 64);
  float total = sums[5];
  _tile_stored(1, sums, 64);
  total += sums[7];
  _tile_stored(2, sums, 64);
  total += sums[11];
  _tile_stored(3, sums, 64);
  total += sums[13];
  _tile_release();
  return total;
}

float run_bf16(std::int64_t steps) noexcept {
  configure();
  load_factors();
  for (std::int64_t step = 0; step < steps; ++step) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return finish();
}

float run_int8(std::int64_t steps) noexcept {
  configure();
  load_factors();
  for (std::int64_t step = 0; step < steps; ++step) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  return finish();
}

}  // namespace

const PeakKernel kPeakBf16 = {"peak_bf16_amx", "bf16", 4, false, 2LL * 4 * 16 * 16 * 32, run_bf16};
const PeakKernel kPeakInt8 = {"peak_int8_amx", "int8", 4, false, 2LL * 4 * 16 * 16 * 64, run_int8};

}  // namespace awq::kernels::amx
