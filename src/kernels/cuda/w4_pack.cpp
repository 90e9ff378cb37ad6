#include <cstring>

#include "base/float16.h"
#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {

const char* w4_objection(std::int64_t n, std::int64_t k, std::int64_t group_size, const float* scales,
                         std::int64_t scale_count) {
  if (n <= 0 || k <= 0 || k % 8 != 0) return "in_features is not a multiple of 8";
  // One group of the whole row is stored like 128: its scale is repeated in every step.
  const bool whole_row = group_size == k;
  if (group_size != 32 && group_size != 64 && (group_size <= 0 || group_size % 128 != 0) && !whole_row) {
    return "the group size is none of 32, 64 and multiples of 128";
  }
  if (!scales_fit_half(scales, scale_count)) return "a scale is not an F16 number";
  return nullptr;
}

void w4_pack_strip(const W4Layout& layout, const PackSource& source, std::int64_t strip, std::uint8_t* to) {
  const std::int64_t first_row = strip * 128;
  const std::int64_t origin = strip * layout.strip_bytes();
  std::memset(to, 0, static_cast<std::size_t>(layout.strip_bytes()));
  const std::int64_t groups = (layout.k + layout.group_size - 1) / layout.group_size;
  const std::int64_t span = layout.group_size < 128 ? layout.group_size : 128;  // inputs that one record serves
  const std::int64_t last_row = first_row + 128 < layout.n ? first_row + 128 : layout.n;
  for (std::int64_t row = first_row; row < last_row; ++row) {
    const std::uint8_t* codes = source.codes + row * layout.k;
    for (std::int64_t input = 0; input < layout.k; ++input) {
      const int bit = w4_code_bit(row, input);
      to[w4_vector_offset(layout, row, input) - origin + bit / 8] |=
          static_cast<std::uint8_t>(codes[input] << (bit % 8));
    }
    for (std::int64_t input = 0; input < layout.k; input += span) {
      const std::int64_t group = input / layout.group_size;
      const std::uint16_t scale = to_f16(source.scales[row * groups + group]).bits;
      std::memcpy(to + w4_scale_offset(layout, row, input) - origin, &scale, sizeof scale);
      to[w4_zero_offset(layout, row, input) - origin] |=
          static_cast<std::uint8_t>(source.zero_points[row * groups + group] << (4 * (row / 8 & 1)));
    }
  }
}

}  // namespace awq::kernels::cuda
