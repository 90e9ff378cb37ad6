#include "kernels/ref/packed_ref.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/float16.h"

namespace awq::kernels::ref {
namespace {

/// Codes, scale and zero point of one output, found by the formulas of the layout.
struct Output {
  const PackedLayout& layout;
  const std::uint8_t* codes;  ///< of its block
  const std::uint8_t* scales;
  const std::uint8_t* zeros;
  std::int64_t lane;

  Output(const PackedLayout& l, const std::uint8_t* weight, std::int64_t n)
      : layout(l),
        codes(weight + l.codes_at(n / kBlockOutputs)),
        scales(weight + l.scales_at(n / kBlockOutputs)),
        zeros(weight + l.zeros_at(n / kBlockOutputs)),
        lane(n % kBlockOutputs) {}
  /// Code at padded input `i` of group `g`.
  int code(std::int64_t g, std::int64_t i) const {
    const std::uint8_t* line = codes + g * layout.group_bytes() + i / layout.line_inputs() * 64;
    const std::uint8_t byte = line[lane * 4 + i % 4];
    if (layout.bits == 8) return byte;
    return i % 8 < 4 ? byte & 15 : byte >> 4;
  }
  float scale(std::int64_t g) const {
    const std::uint8_t* at = scales + (g * kBlockOutputs + lane) * layout.scale_size();
    F16 half;
    float whole = 0;
    std::memcpy(&half, at, sizeof(half));
    if (layout.half_scales) return to_float(half);
    std::memcpy(&whole, at, sizeof(whole));
    return whole;
  }
  float zero(std::int64_t g) const { return zeros[g * kBlockOutputs + lane]; }
};

/// Where in its panel the code of padded input `i` of a row lies.
std::int64_t code_place(const Activations& x, std::int64_t i, int plane, std::int64_t rows, std::int64_t row) {
  const std::int64_t chunk = x.row_major ? x.row_bytes() : kUnitInputs;
  const std::int64_t within = i % chunk;
  return (i / chunk * x.planes + plane) * chunk * rows +
         (x.row_major ? row * chunk + within : (within / 4 * rows + row) * 4 + within % 4);
}

/// Codes of one row of activations.
struct Row {
  const Activations& x;
  std::int64_t first;  ///< row that begins the panel
  std::int64_t rows;   ///< of the panel
  std::int64_t row;    ///< within it

  Row(const Activations& from, std::int64_t panel, std::int64_t within)
      : x(from), first(from.panel_begin(panel)), rows(from.panel_begin(panel + 1) - first), row(within) {}
  int code(std::int64_t i, int plane) const {
    return x.codes[first * x.planes * x.padded_k() + code_place(x, i, plane, rows, row)];
  }
  float scale(std::int64_t b) const { return x.scales[first * x.scale_blocks() + b * rows + row]; }
  float minus_sum(std::int64_t g) const { return x.minus_sums[first * x.groups() + g * rows + row]; }
};

float dot(const Row& row, const Output& out) {
  const Activations& x = row.x;
  const std::int64_t padded = x.padded_group();
  const std::int64_t block = x.scale_inputs();
  float y = 0;
  for (std::int64_t g = 0; g < x.groups(); ++g) {
    float t = out.zero(g) * row.minus_sum(g);
    for (std::int64_t b = 0; b < padded / block; ++b) {
      std::int32_t sum[2] = {0, 0};
      for (std::int64_t i = b * block; i < (b + 1) * block; ++i) {
        for (int p = 0; p < x.planes; ++p) sum[p] += row.code(g * padded + i, p) * out.code(g, i);
      }
      const std::int32_t whole = x.planes == 2 ? sum[0] * 128 + sum[1] : sum[0];
      t = std::fma(static_cast<float>(whole), row.scale(g * (padded / block) + b), t);
    }
    y = std::fma(t, out.scale(g), y);
  }
  return y;
}

void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  const std::int64_t last = std::min(args.layout.n, block_end * kBlockOutputs);
  for (std::int64_t n = block_begin * kBlockOutputs; n < last; ++n) {
    const Output out(args.layout, args.weight, n);
    for (std::int64_t p = panel_begin; p < panel_end; ++p) {
      for (std::int64_t m = args.x.panel_begin(p); m < args.x.panel_begin(p + 1); ++m) {
        const float y = dot(Row(args.x, p, m - args.x.panel_begin(p)), out);
        args.y[m * args.layout.n + n] = args.bias != nullptr ? y + args.bias[n] : y;
      }
    }
  }
}

void run_float(const PackedFloatArgs& args, std::int64_t block_begin, std::int64_t block_end) noexcept {
  const PackedLayout& layout = args.layout;
  const std::int64_t last = std::min(layout.n, block_end * kBlockOutputs);
  for (std::int64_t n = block_begin * kBlockOutputs; n < last; ++n) {
    const Output out(layout, args.weight, n);
    for (std::int64_t m = 0; m < args.m; ++m) {
      const float* x = args.x + m * layout.k;
      float y = 0;
      for (std::int64_t g = 0; g < layout.groups(); ++g, x += layout.group_size) {
        float t = 0;
        for (std::int64_t i = 0; i < layout.group_size; ++i) {
          t += x[i] * (static_cast<float>(out.code(g, i)) - out.zero(g));
        }
        y += out.scale(g) * t;
      }
      args.y[m * layout.n + n] = args.bias != nullptr ? y + args.bias[n] : y;
    }
  }
}

void quantize(const Activations& to, const float* x, std::int64_t row) noexcept {
  std::int64_t panel = row * to.panels() / to.m;
  while (to.panel_begin(panel + 1) <= row) ++panel;
  const std::int64_t first = to.panel_begin(panel);
  const std::int64_t rows = to.panel_begin(panel + 1) - first;
  const std::int64_t r = row - first;
  const std::int64_t padded = to.padded_group();
  const std::int64_t block = to.scale_inputs();
  const std::int64_t blocks = padded / block;
  std::int8_t* codes = to.codes + first * to.planes * to.padded_k();
  float* scales = to.scales + first * to.scale_blocks() + r;
  const auto top = static_cast<float>(to.planes == 2 ? kLargestWideActivation : kLargestActivation);
  for (std::int64_t g = 0; g < to.groups(); ++g) {
    const float* from = x + row * to.k + g * to.group_size;
    float sum = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t begin = b * block;
      const std::int64_t end = std::min(begin + block, to.group_size);
      float largest = 0;
      bool finite = true;
      for (std::int64_t i = begin; i < end; ++i) {
        largest = std::max(largest, std::fabs(from[i]));
        finite = finite && std::fabs(from[i]) <= std::numeric_limits<float>::max();
      }
      const bool nothing = !finite || largest < kSmallestActivation;
      const float inverse = nothing ? 0 : top / largest;
      float scale = nothing ? 0 : largest / top;
      if (!finite) scale = std::numeric_limits<float>::quiet_NaN();
      std::int32_t code_sum = 0;
      for (std::int64_t i = begin; i < begin + block; ++i) {
        const auto code =
            i < end && !nothing ? static_cast<std::int32_t>(std::nearbyint(from[i] * inverse)) : std::int32_t{0};
        code_sum += code;
        const std::int32_t high = to.planes == 1 ? code : (code + 64) >> 7;
        codes[code_place(to, g * padded + i, 0, rows, r)] = static_cast<std::int8_t>(high);
        if (to.planes == 2) {
          codes[code_place(to, g * padded + i, 1, rows, r)] = static_cast<std::int8_t>(code - high * 128);
        }
      }
      scales[(g * blocks + b) * rows] = scale;
      sum = std::fma(static_cast<float>(code_sum), scale, sum);
    }
    to.minus_sums[first * to.groups() + g * rows + r] = -sum;
  }
}

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_ref", 4, 1, 0, CpuFeature::kNone, 8, false, 1, run};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_ref", 4, 2, 0, CpuFeature::kNone, 8, false, 1, run};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_ref", 8, 1, 0, CpuFeature::kNone, 8, false, 1, run};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_ref", 8, 2, 0, CpuFeature::kNone, 8, false, 1, run};
const PackedFloatKernel kPackedF32U4 = {"linear_f32_u4g_f32_ref", 4, 0, run_float};
const PackedFloatKernel kPackedF32U8 = {"linear_f32_u8g_f32_ref", 8, 0, run_float};
const ActivationQuantizer kQuantizeActivations = {"quantize_activations_ref", 0, quantize};

}  // namespace awq::kernels::ref
