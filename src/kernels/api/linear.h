#pragma once

#include <cstdint>

namespace awq::kernels {

/// How a kernel finds the weights of a linear layer.
enum class WeightKind : std::uint8_t {
  kF32,   ///< [N, K] row-major
  kBf16,  ///< [N, K] row-major
  kF16,   ///< [N, K] row-major
  kU4,    ///< packed by pack_u4_rows(), scale and zero point per group
};

/// y = x * weight^T + bias for few rows of x; the weights are read once for all of them.
struct LinearArgs {
  std::int64_t m = 0;            ///< tokens, 1 .. kMaxRows
  std::int64_t n = 0;            ///< out_features
  std::int64_t k = 0;            ///< in_features
  const float* x = nullptr;      ///< [m, k]
  const void* weight = nullptr;  ///< by kind
  const float* bias = nullptr;   ///< [n] or null
  float* y = nullptr;            ///< [m, n]
  // kU4 only
  std::int64_t group_size = 0;
  const float* scales = nullptr;              ///< [n, k / group_size]
  const std::uint8_t* zero_points = nullptr;  ///< [n, k / group_size]
  const float* x_group_sums = nullptr;        ///< [m, k / group_size] sums of x over each group
};

/// Rows of x that one call may have.
inline constexpr std::int64_t kMaxRows = 8;

/// A row of the table: one way to compute LinearArgs. run() covers out_features [n_begin, n_end), allocates nothing,
/// and sums each output in an order that does not depend on m, n_begin or n_end.
struct LinearKernel {
  const char* name;
  WeightKind kind;
  std::uint8_t min_isa;  ///< the awq::Isa that the code needs, as a number
  /// Null when this kernel can run the problem on this processor, else the reason in words.
  const char* (*supports)(const LinearArgs& args);
  void (*run)(const LinearArgs& args, std::int64_t n_begin, std::int64_t n_end) noexcept;
};

/// The kernels in order of preference, ended by a row with a null name. For each kind the last row supports all.
const LinearKernel* linear_kernels_cpu();

/// Bytes of one packed row: blocks of 32 codes in 16 bytes, byte j = code j | code (j + 16) << 4; the tail is padded
/// with zero codes.
constexpr std::int64_t packed_u4_row_bytes(std::int64_t k) { return (k + 31) / 32 * 16; }
/// Packs codes [k] (one per byte, 0..15) of one row.
void pack_u4_row(const std::uint8_t* codes, std::int64_t k, std::uint8_t* packed) noexcept;
/// The inverse.
void unpack_u4_row(const std::uint8_t* packed, std::int64_t k, std::uint8_t* codes) noexcept;

}  // namespace awq::kernels
