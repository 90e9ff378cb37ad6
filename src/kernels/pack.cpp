// Between codes in memory order and the packed layout; scalar, and simple enough for the compiler to make vectors of.

#include <cstring>

#include "base/float16.h"
#include "kernels/api/packed.h"

namespace awq::kernels {
namespace {

/// The scale at `place` (group * 16 + output) of a block's.
float get_scale(const PackedLayout& layout, const std::uint8_t* scales, std::int64_t place) {
  if (layout.half_scales) {
    F16 half;
    std::memcpy(&half, scales + place * 2, sizeof(half));
    return to_float(half);
  }
  float scale = 0;
  std::memcpy(&scale, scales + place * 4, sizeof(scale));
  return scale;
}

void put_scale(const PackedLayout& layout, std::uint8_t* scales, std::int64_t place, float scale) {
  if (layout.half_scales) {
    const F16 half = to_f16(scale);
    std::memcpy(scales + place * 2, &half, sizeof(half));
  } else {
    std::memcpy(scales + place * 4, &scale, sizeof(scale));
  }
}

/// Codes of one group of one output into its lines: byte j of a step holds input 4 * step + j; with 4 bits two steps
/// share a byte.
void put_codes(const PackedLayout& layout, const std::uint8_t* codes, std::uint8_t* lines, std::int64_t output) {
  const std::int64_t inputs = layout.line_inputs();
  std::uint8_t* to = lines + output * 4;
  std::int64_t i = 0;
  for (; i + inputs <= layout.group_size; i += inputs, to += 64) {
    std::uint32_t low = 0;
    std::memcpy(&low, codes + i, 4);
    if (layout.bits == 4) {
      std::uint32_t high = 0;
      std::memcpy(&high, codes + i + 4, 4);
      low |= high << 4;
    }
    std::memcpy(to, &low, 4);
  }
  for (std::int64_t j = i; j < layout.group_size; ++j) {
    const std::int64_t within = j - i;
    to[within % 4] |= static_cast<std::uint8_t>(within < 4 ? codes[j] : codes[j] << 4);
  }
}

}  // namespace

void pack_block(const PackedLayout& layout, const PackSource& source, std::int64_t block,
                std::uint8_t* weight) noexcept {
  std::uint8_t* codes = weight + layout.codes_at(block);
  std::uint8_t* scales = weight + layout.scales_at(block);
  std::uint8_t* zeros = weight + layout.zeros_at(block);
  std::memset(codes, 0, static_cast<std::size_t>(layout.code_bytes()));
  const std::int64_t groups = layout.groups();
  const std::int64_t first = block * kBlockOutputs;
  const std::int64_t count = layout.n - first < kBlockOutputs ? layout.n - first : kBlockOutputs;
  if (count < kBlockOutputs) {
    std::memset(scales, 0, static_cast<std::size_t>(layout.scale_bytes()));
    std::memset(zeros, 0, static_cast<std::size_t>(layout.zero_bytes()));
  }
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t n = first + r - source.first;
      put_codes(layout, source.codes + n * layout.k + g * layout.group_size, codes + g * layout.group_bytes(), r);
      put_scale(layout, scales, g * kBlockOutputs + r, source.scales[n * groups + g]);
      zeros[g * kBlockOutputs + r] = source.zero_points[n * groups + g];
    }
  }
}

void expand_packed(const PackedLayout& layout, const std::uint8_t* weight, std::int64_t begin, std::int64_t end,
                   float* out) noexcept {
  for (std::int64_t n = begin; n < end; ++n) {
    const std::int64_t block = n / kBlockOutputs;
    const std::uint8_t* codes = weight + layout.codes_at(block);
    const std::uint8_t* scales = weight + layout.scales_at(block);
    const std::uint8_t* zeros = weight + layout.zeros_at(block);
    const std::int64_t r = n % kBlockOutputs;
    float* to = out + (n - begin) * layout.k;
    for (std::int64_t g = 0; g < layout.groups(); ++g) {
      const float scale = get_scale(layout, scales, g * kBlockOutputs + r);
      const int zero = zeros[g * kBlockOutputs + r];
      const std::uint8_t* lines = codes + g * layout.group_bytes() + r * 4;
      if (layout.bits == 4) {
        for (std::int64_t i = 0; i < layout.group_size; ++i) {
          const std::uint8_t byte = lines[i / 8 * 64 + i % 4];
          to[i] = scale * static_cast<float>((i % 8 < 4 ? byte & 15 : byte >> 4) - zero);
        }
      } else {
        for (std::int64_t i = 0; i < layout.group_size; ++i) {
          to[i] = scale * static_cast<float>(lines[i / 4 * 64 + i % 4] - zero);
        }
      }
      to += layout.group_size;
    }
  }
}

bool scales_fit_half(const float* scales, std::int64_t count) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    if (to_float(to_f16(scales[i])) != scales[i]) return false;
  }
  return true;
}

}  // namespace awq::kernels
