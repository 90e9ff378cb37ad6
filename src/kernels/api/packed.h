#pragma once

#include <cstdint>

namespace awq::kernels {

/// Outputs (rows of W) that one block of packed weights holds.
inline constexpr std::int64_t kBlockOutputs = 16;
/// Inputs of a unit: groups are padded to whole units, and no scale of activations covers less.
inline constexpr std::int64_t kUnitInputs = 32;

/// Where the codes, scales and zero points of a quantized weight [n, k] lie in memory: docs/layouts/packed-weights.md.
/// Sixteen outputs make a block. First come the codes of all blocks, so that reading them is one stream without gaps:
/// 64-byte lines of four consecutive inputs (8 bits) or eight (4 bits) of all sixteen outputs, groups one after the
/// other. Then the scales of all blocks, then their zero points. Offsets are from the first byte of the weight.
struct PackedLayout {
  std::int64_t n = 0;           ///< out_features
  std::int64_t k = 0;           ///< in_features
  std::int64_t group_size = 0;  ///< inputs that share a scale; divides k
  std::uint8_t bits = 4;        ///< of a stored code: 4 or 8
  bool half_scales = true;      ///< scales are F16, else F32

  constexpr std::int64_t groups() const { return k / group_size; }
  /// Inputs of a group with its padding: a whole number of units. Padding has code 0 and meets activations of 0.
  constexpr std::int64_t padded_group() const { return (group_size + kUnitInputs - 1) / kUnitInputs * kUnitInputs; }
  constexpr std::int64_t padded_k() const { return groups() * padded_group(); }
  constexpr std::int64_t blocks() const { return (n + kBlockOutputs - 1) / kBlockOutputs; }
  /// Inputs in one line of 64 bytes.
  constexpr std::int64_t line_inputs() const { return bits == 4 ? 8 : 4; }
  constexpr std::int64_t scale_size() const { return half_scales ? 2 : 4; }
  constexpr std::int64_t group_bytes() const { return padded_group() / line_inputs() * 64; }
  /// Codes, scales and zero points of a block: the bytes from one block to the next.
  constexpr std::int64_t code_bytes() const { return groups() * group_bytes(); }
  constexpr std::int64_t scale_bytes() const { return groups() * kBlockOutputs * scale_size(); }
  constexpr std::int64_t zero_bytes() const { return groups() * kBlockOutputs; }
  /// Where those of block b begin; of b = blocks(), where they end.
  constexpr std::int64_t codes_at(std::int64_t b) const { return b * code_bytes(); }
  constexpr std::int64_t scales_at(std::int64_t b) const { return blocks() * code_bytes() + b * scale_bytes(); }
  constexpr std::int64_t zeros_at(std::int64_t b) const { return scales_at(blocks()) + b * zero_bytes(); }
  constexpr std::int64_t bytes() const { return (zeros_at(blocks()) + 63) / 64 * 64; }
};

/// Codes, scales and zero points as quant::QuantizedTensor holds them, from one output on.
struct PackSource {
  const std::uint8_t* codes = nullptr;        ///< [outputs, k]
  const float* scales = nullptr;              ///< [outputs, groups]
  const std::uint8_t* zero_points = nullptr;  ///< [outputs, groups]
  std::int64_t first = 0;                     ///< output that the first row is
};
/// Writes everything of one block of the weight (padding outputs get code and scale 0).
void pack_block(const PackedLayout& layout, const PackSource& source, std::int64_t block,
                std::uint8_t* weight) noexcept;
/// scale * (code - zero point) of outputs [begin, end), as floats [end - begin, k].
void expand_packed(const PackedLayout& layout, const std::uint8_t* weight, std::int64_t begin, std::int64_t end,
                   float* out) noexcept;
/// True when every one of `count` scales is an F16 number.
bool scales_fit_half(const float* scales, std::int64_t count) noexcept;

/// Integer activations of one call, in panels of rows that a kernel takes at once. An input x is
/// scale * (128 * high + low) with two planes (15 bits), scale * high with one (8 bits); a scale covers scale_inputs()
/// inputs of one row.
struct Activations {
  std::int64_t m = 0;
  std::int64_t panel_rows = 1;  ///< the most rows of a panel; all panels hold the same number or one less
  std::int64_t k = 0;
  std::int64_t group_size = 0;
  int planes = 1;
  bool row_major = false;  ///< codes lie as [row][row_bytes()], else as [8 steps of a unit][row][4 bytes]
  /// Panel with first row r at r * planes * padded_k: [chunk][plane][chunk inputs * rows]; a chunk is a unit or, in
  /// rows, row_bytes().
  std::int8_t* codes = nullptr;
  float* scales = nullptr;      ///< panel at r * scale_blocks(): [block][rows]
  float* minus_sums = nullptr;  ///< panel at r * groups: [group][rows], minus the sum of the rounded x
  /// Of kernels with a prepare(): as `scales`, minus what a block adds to sums of products of pairs.
  std::int32_t* minus_pairs = nullptr;

  constexpr std::int64_t padded_group() const { return (group_size + kUnitInputs - 1) / kUnitInputs * kUnitInputs; }
  constexpr std::int64_t groups() const { return k / group_size; }
  constexpr std::int64_t padded_k() const { return groups() * padded_group(); }
  /// With one plane a unit. Codes of two are fine enough for as much of a group as divides it, up to 128 inputs, whose
  /// sums still fit into 32 bits: 128 * 255 * 16256.
  constexpr std::int64_t scale_inputs() const {
    std::int64_t inputs = planes == 1 ? kUnitInputs : 4 * kUnitInputs;
    while (padded_group() % inputs != 0) inputs /= 2;
    return inputs;
  }
  constexpr std::int64_t scale_blocks() const { return padded_k() / scale_inputs(); }
  /// Inputs of a row that lie together: a row of a matrix tile.
  constexpr std::int64_t row_bytes() const { return scale_inputs() < 2 * kUnitInputs ? kUnitInputs : 2 * kUnitInputs; }
  constexpr std::int64_t panels() const { return (m + panel_rows - 1) / panel_rows; }
  constexpr std::int64_t panel_begin(std::int64_t panel) const { return m * panel / panels(); }
};

/// A block of inputs whose magnitudes are all below this counts as zero: its scale would not be a normal number.
inline constexpr float kSmallestActivation = 1e-30F;

/// Of a code with one plane. 127 would fit; 120 leaves room for a 4-bit code in the same byte, which lets a kernel do
/// with half of the multiplications (cpu/avx512vnni/packed_avx512vnni_pairs.cpp).
inline constexpr int kLargestActivation = 120;
/// The same of two planes: 128 * 127.
inline constexpr int kLargestWideActivation = 16256;

/// Rounds row `row` of x [m, k] into its panel. The scale is the largest magnitude of its inputs over the largest code,
/// rounding is to nearest even; one with an infinity or NaN gets the scale NaN, so that it shows in y.
struct ActivationQuantizer {
  const char* name;
  std::uint8_t min_isa;
  void (*run)(const Activations& to, const float* x, std::int64_t row) noexcept;
};
/// In order of preference, ended by a null name; the last one runs everywhere. All give the same bits.
const ActivationQuantizer* activation_quantizers_cpu();

/// y = x * W^T + bias from packed weights. In exact integers and then this sequence of binary32 operations, which every
/// kernel keeps, so that all of them give the same bits:
///
///   y = 0;  for each group g:
///     t = zero_point[g] * minus_sums[g]
///     for each block b of scale_inputs() in g:  t = fma(float(sum over b of x code * w code), x scale[b], t)
///     y = fma(t, scale[g], y)
///   y = y + bias
struct PackedArgs {
  PackedLayout layout;
  const std::uint8_t* weight = nullptr;
  const float* bias = nullptr;  ///< [n] or null
  Activations x;
  float* y = nullptr;  ///< [m, n]
};

/// What a kernel needs beyond its instruction set level.
/// kFreeAdditions is no instruction: where it is missing the kernel runs, but slower than those after it.
enum class CpuFeature : std::uint8_t { kNone, kAvxVnni, kDotProduct, kInt8Matrix, kFreeAdditions };

/// A row of the table of integer kernels.
struct PackedKernel {
  const char* name;
  std::uint8_t bits;        ///< of the weights: 4 or 8
  std::uint8_t planes;      ///< of the activations
  std::uint8_t min_isa;     ///< awq::Isa as a number
  CpuFeature feature;       ///< also needed
  std::uint8_t panel_rows;  ///< most rows of a panel
  bool row_major;           ///< how it wants units of activations
  std::int64_t min_rows;    ///< rows of x from which it is preferred to later rows of the table
  /// Outputs of blocks [block_begin, block_end) for rows of panels [panel_begin, panel_end). Allocates nothing.
  void (*run)(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
              std::int64_t panel_end) noexcept;
  /// Where not null: called once for every panel after its rows are rounded. It changes the codes to what run() reads
  /// and writes `minus_pairs`, so that only kernels with the same function may share activations.
  void (*prepare)(const Activations& x, std::int64_t panel) noexcept = nullptr;
};
/// In order of preference, ended by a null name. For each (bits, planes) the last row runs everywhere.
const PackedKernel* packed_kernels_cpu();

/// y = x * W^T + bias from packed weights with binary32 activations, for 1 .. kMaxPackedFloatRows rows of x.
struct PackedFloatArgs {
  PackedLayout layout;
  const std::uint8_t* weight = nullptr;
  const float* bias = nullptr;
  std::int64_t m = 0;
  const float* x = nullptr;             ///< [m, k]
  const float* x_group_sums = nullptr;  ///< [m, groups]
  float* y = nullptr;                   ///< [m, n]
};
inline constexpr std::int64_t kMaxPackedFloatRows = 8;
/// A row of the table of kernels with binary32 activations; each runs any layout of its width.
struct PackedFloatKernel {
  const char* name;
  std::uint8_t bits;
  std::uint8_t min_isa;
  void (*run)(const PackedFloatArgs& args, std::int64_t block_begin, std::int64_t block_end) noexcept;
};
const PackedFloatKernel* packed_float_kernels_cpu();

}  // namespace awq::kernels
