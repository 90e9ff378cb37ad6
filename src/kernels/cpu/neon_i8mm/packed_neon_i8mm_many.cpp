// Packed kernels on the product of a 2 x 8 by an 8 x 2 matrix of bytes, which does twice the work of a dot product:
// pairs of outputs times pairs of rows. Built with the i8mm extension: kernel headers and intrinsics only.
#include "kernels/cpu/neon_i8mm/packed_neon_i8mm_many.h"

#include <arm_neon.h>

namespace awq::kernels::neon_i8mm {
namespace {

#include "kernels/cpu/neon/packed_lanes128.h"

constexpr int kPairs = 4;    // of rows in a panel
constexpr int kOutputs = 8;  // at a time: half a block, whose 4 x 4 sums fill half of the registers

/// Eight inputs of eight outputs, as four pairs of outputs: inputs 0-3 of four outputs in `low`, 4-7 in `high`.
struct Pairs {
  uint8x16_t w[kOutputs / 2];

  void set(int four, uint8x16_t low, uint8x16_t high) {
    const uint32x4_t a = vreinterpretq_u32_u8(low);
    const uint32x4_t b = vreinterpretq_u32_u8(high);
    w[2 * four] = vreinterpretq_u8_u32(vzip1q_u32(a, b));
    w[2 * four + 1] = vreinterpretq_u8_u32(vzip2q_u32(a, b));
  }
};

/// Inputs [8 * eighth, 8 * eighth + 8) of the unit at `unit`, outputs from `lane`.
template <int kBits>
Pairs decode(const std::uint8_t* unit, int eighth, int lane) {
  Pairs pairs;
  for (int four = 0; four < 2; ++four) {
    if constexpr (kBits == 4) {
      const uint8x16_t bytes = vld1q_u8(unit + eighth * 64 + (lane + 4 * four) * 4);
      pairs.set(four, vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4));
    } else {
      const std::uint8_t* at = unit + eighth * 128 + (lane + 4 * four) * 4;
      pairs.set(four, vld1q_u8(at), vld1q_u8(at + 64));
    }
  }
  return pairs;
}

/// Adds one unit and plane to sums[p][q], which hold outputs 2q and 2q + 1 (rows of the 2 x 2 matrix) by rows 2p and
/// 2p + 1 of the panel. Inputs of a row are at `codes`, those of the next one `row_bytes` later; the second half of a
/// pair that has no second row counts as zeros.
template <int kBits, int kRowPairs>
void add_unit(const std::int8_t* codes, std::int64_t row_bytes, std::int64_t rows, const std::uint8_t* unit, int lane,
              int32x4_t (&sums)[kRowPairs][kOutputs / 2]) {
#pragma GCC unroll 4
  for (int eighth = 0; eighth < 4; ++eighth) {
    const Pairs pairs = decode<kBits>(unit, eighth, lane);
#pragma GCC unroll 4
    for (int p = 0; p < kRowPairs; ++p) {
      const std::int8_t* at = codes + 2 * p * row_bytes + 8 * eighth;
      const int8x8_t second = 2 * p + 1 < rows ? vld1_s8(at + row_bytes) : vdup_n_s8(0);
      const int8x16_t x = vcombine_s8(vld1_s8(at), second);
#pragma GCC unroll 4
      for (int q = 0; q < kOutputs / 2; ++q) sums[p][q] = vusmmlaq_s32(sums[p][q], pairs.w[q], x);
    }
  }
}

/// Four outputs of one row out of two matrices.
int32x4_t row_of(int32x4_t first, int32x4_t second, int row) {
  return row == 0 ? vuzp1q_s32(first, second) : vuzp2q_s32(first, second);
}

/// One panel, outputs [first, first + 8) of a block.
template <int kBits, int kPlanes, int kRowPairs>
void panel_outputs(const PackedArgs& args, std::int64_t panel, std::int64_t block, int lane) {
  const PackedLayout& layout = args.layout;
  const Activations& x = args.x;
  const std::int64_t first_row = x.panel_begin(panel);
  const std::int64_t rows = x.panel_begin(panel + 1) - first_row;
  const std::uint8_t* weight = args.weight + layout.codes_at(block);
  const std::uint8_t* scales = args.weight + layout.scales_at(block);
  const std::uint8_t* zeros = args.weight + layout.zeros_at(block);
  const std::int8_t* codes = x.codes + first_row * kPlanes * x.padded_k();
  const float* x_scales = x.scales + first_row * x.scale_blocks();
  const float* minus_sums = x.minus_sums + first_row * x.groups();
  const std::int64_t blocks = layout.padded_group() / x.scale_inputs();
  const std::int64_t units_of_block = kPlanes == 1 ? 1 : x.scale_inputs() / kUnitInputs;
  const std::int64_t row_bytes = kPlanes == 1 ? kUnitInputs : x.row_bytes();
  constexpr int kUnitBytes = kBits == 4 ? 256 : 512;
  float32x4_t total[2 * kRowPairs][2] = {};
  for (std::int64_t g = 0; g < layout.groups(); ++g) {
    const std::uint8_t* unit = weight + g * layout.group_bytes();
    float32x4_t t[2 * kRowPairs][2];
    for (int v = 0; v < 2; ++v) {
      const float32x4_t zero = Lanes128::from_bytes(zeros + g * kBlockOutputs + lane + 4 * v);
      for (int r = 0; r < 2 * kRowPairs; ++r) {
        t[r][v] = Lanes128::multiply(zero, r < rows ? minus_sums[g * rows + r] : 0);
      }
    }
    for (std::int64_t b = 0; b < blocks; ++b) {
      int32x4_t sums[kPlanes][kRowPairs][kOutputs / 2] = {};
      for (std::int64_t u = 0; u < units_of_block; ++u, unit += kUnitBytes) {
        const std::int64_t within = u * kUnitInputs % row_bytes;
        for (int p = 0; p < kPlanes; ++p) {
          add_unit<kBits, kRowPairs>(codes + p * row_bytes * rows + within, row_bytes, rows, unit, lane, sums[p]);
        }
        if (within + kUnitInputs == row_bytes) codes += kPlanes * row_bytes * rows;
      }
      for (int r = 0; r < 2 * kRowPairs; ++r) {
        const float scale = r < rows ? x_scales[r] : 0;
        for (int v = 0; v < 2; ++v) {
          int32x4_t whole = row_of(sums[0][r / 2][2 * v], sums[0][r / 2][2 * v + 1], r % 2);
          if constexpr (kPlanes == 2) {
            whole = Lanes128::join(whole, row_of(sums[1][r / 2][2 * v], sums[1][r / 2][2 * v + 1], r % 2));
          }
          t[r][v] = Lanes128::multiply_add(Lanes128::to_floats(whole), scale, t[r][v]);
        }
      }
      x_scales += rows;
    }
    for (int v = 0; v < 2; ++v) {
      const std::int64_t at = g * kBlockOutputs + lane + 4 * v;
      const float32x4_t scale =
          layout.half_scales ? Lanes128::from_halves(scales + at * 2) : Lanes128::from_floats(scales + at * 4);
      for (int r = 0; r < 2 * kRowPairs; ++r) total[r][v] = Lanes128::multiply_add(t[r][v], scale, total[r][v]);
    }
  }
  const std::int64_t output = block * kBlockOutputs + lane;
  const std::int64_t count = layout.n - output < kOutputs ? layout.n - output : kOutputs;
  for (std::int64_t r = 0; r < rows; ++r) {
    float values[kOutputs];
    Lanes128::store(total[r][0], values);
    Lanes128::store(total[r][1], values + 4);
    float* y = args.y + (first_row + r) * layout.n + output;
    for (std::int64_t i = 0; i < count; ++i) {
      y[i] = args.bias != nullptr ? values[i] + args.bias[output + i] : values[i];
    }
  }
}

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  using Outputs = void (*)(const PackedArgs&, std::int64_t, std::int64_t, int);
  static constexpr Outputs kByPairs[kPairs] = {panel_outputs<kBits, kPlanes, 1>, panel_outputs<kBits, kPlanes, 2>,
                                               panel_outputs<kBits, kPlanes, 3>, panel_outputs<kBits, kPlanes, 4>};
  for (std::int64_t block = block_begin; block < block_end; ++block) {
    for (int lane = 0; lane < kBlockOutputs && block * kBlockOutputs + lane < args.layout.n; lane += kOutputs) {
      for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
        const std::int64_t rows = args.x.panel_begin(panel + 1) - args.x.panel_begin(panel);
        kByPairs[(rows + 1) / 2 - 1](args, panel, block, lane);
      }
    }
  }
}

// From four rows on: fewer leave half of the work unused, and a dot product reads weights as they lie.
constexpr std::int64_t kManyRows = 4;

}  // namespace

const PackedKernel kI8U4Many = {
    "linear_i8_u4g_f32_neon_i8mm_pairs", 4, 1, 0, CpuFeature::kInt8Matrix, 2 * kPairs, true, kManyRows, run<4, 1>};
const PackedKernel kI15U4Many = {
    "linear_i15_u4g_f32_neon_i8mm_pairs", 4, 2, 0, CpuFeature::kInt8Matrix, 2 * kPairs, true, kManyRows, run<4, 2>};
const PackedKernel kI8U8Many = {
    "linear_i8_u8g_f32_neon_i8mm_pairs", 8, 1, 0, CpuFeature::kInt8Matrix, 2 * kPairs, true, kManyRows, run<8, 1>};
const PackedKernel kI15U8Many = {
    "linear_i15_u8g_f32_neon_i8mm_pairs", 8, 2, 0, CpuFeature::kInt8Matrix, 2 * kPairs, true, kManyRows, run<8, 2>};

}  // namespace awq::kernels::neon_i8mm
