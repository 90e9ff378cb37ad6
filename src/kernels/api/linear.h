#pragma once

#include <cstdint>

namespace awq::kernels {

/// Type of the weights of a dense linear layer; those of quantized ones are in packed.h.
enum class WeightKind : std::uint8_t {
  kF32,   ///< [N, K] row-major
  kBf16,  ///< [N, K] row-major
  kF16,   ///< [N, K] row-major
};

/// y = x * weight^T + bias for few rows of x; the weights are read once for all of them.
struct LinearArgs {
  std::int64_t m = 0;        ///< tokens, 1 .. kMaxRows
  std::int64_t n = 0;        ///< out_features
  std::int64_t k = 0;        ///< in_features
  const float* x = nullptr;  ///< [m, k]
  /// [m, k], x rounded to bf16: for kernels with a round_inputs(), which do not read x.
  const std::uint16_t* x_bf16 = nullptr;
  const void* weight = nullptr;  ///< by kind
  const float* bias = nullptr;   ///< [n] or null
  float* y = nullptr;            ///< [m, n]
  bool weights_near = false;     ///< a call just before has read them: no need to ask memory for them early
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
  /// Where not null: the kernel multiplies bf16 by bf16 (sums in binary32) and wants x rounded by this, to nearest
  /// even. Such a kernel also needs a processor with bf16 products.
  void (*round_inputs)(const float* x, std::int64_t count, std::uint16_t* out) noexcept = nullptr;
};

/// The kernels in order of preference, ended by a row with a null name. For each kind the last row supports all.
const LinearKernel* linear_kernels_cpu();

}  // namespace awq::kernels
