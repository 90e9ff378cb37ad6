#pragma once

// Packed kernels on matrix tiles. The tile instructions come from a class, so that a test runs this very source on a
// processor without them; everything else is plain loops over sixteen lanes, which become one vector each.

#include <cstdint>

#include "kernels/api/packed.h"
#include "kernels/cpu/amx/tiles.h"

namespace awq::kernels::amx {

inline constexpr int kTileRows = 16;
// Units decoded at a time: 8 KB, which stay in the first-level cache while all panels pass over them.
inline constexpr std::int64_t kDecodedUnits = 16;
// Panels whose sums are kept at a time.
inline constexpr std::int64_t kBatchPanels = 16;

/// Sums of one panel for one block of outputs.
struct PanelSums {
  alignas(64) float group[kTileRows][16];  ///< within the current group
  alignas(64) float total[kTileRows][16];
};
/// Working memory of a thread.
struct TileWork {
  alignas(64) std::uint8_t decoded[kDecodedUnits * 512];
  alignas(64) std::int32_t products[2][2][kTileRows][16];  ///< [unit mod 2][plane]
  PanelSums panels[kBatchPanels];
};

/// An F16 number, all of them, by integer arithmetic: the exponent is rebiased by an exact multiplication.
template <class Tag>
inline float half_to_float(std::uint16_t half) {
  std::uint32_t bits = static_cast<std::uint32_t>(half & 0x7FFF) << 13;
  float value = 0;
  __builtin_memcpy(&value, &bits, 4);
  value *= 0x1p112F;
  __builtin_memcpy(&bits, &value, 4);
  if ((half & 0x7C00) == 0x7C00) bits = 0x7F800000U | static_cast<std::uint32_t>(half & 0x3FF) << 13;
  bits |= static_cast<std::uint32_t>(half & 0x8000) << 16;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

/// Lines of `units` units to steps of 64 bytes, a code per byte: the second factor of a tile product.
template <class Tiles, int kBits>
inline void decode_units(const std::uint8_t* lines, std::int64_t units, std::uint8_t* out) {
  if constexpr (kBits == 8) {
    for (std::int64_t i = 0; i < units * 512; i += 64) {
      __builtin_prefetch(lines + i + 2048);
      for (int j = 0; j < 64; ++j) out[i + j] = lines[i + j];
    }
  } else {
    for (std::int64_t line = 0; line < units * 4; ++line, lines += 64, out += 128) {
      __builtin_prefetch(lines + 2048);
      for (int j = 0; j < 64; ++j) out[j] = lines[j] & 15;
      for (int j = 0; j < 64; ++j) out[64 + j] = static_cast<std::uint8_t>(lines[j] >> 4);
    }
  }
}

/// Products of one unit for one panel, into memory.
template <class Tiles, int kPlanes, int kSum>
inline void unit_products(const std::int8_t* codes, std::int64_t rows, const std::uint8_t* decoded,
                          std::int32_t (*out)[kTileRows][16]) {
  Tiles::template load<6>(decoded, 64);
  Tiles::template zero<kSum>();
  Tiles::template load<4>(codes, kUnitInputs);
  Tiles::template dot_signed_unsigned<kSum, 4, 6>();
  if constexpr (kPlanes == 2) {
    Tiles::template zero<kSum + 1>();
    Tiles::template load<5>(codes + kUnitInputs * rows, kUnitInputs);
    Tiles::template dot_signed_unsigned<kSum + 1, 5, 6>();
    Tiles::template store<kSum + 1>(out[1], 64);
  }
  Tiles::template store<kSum>(out[0], 64);
}

template <class Tiles, int kPlanes>
inline void rescale(const std::int32_t (*products)[kTileRows][16], const float* x_scales, std::int64_t rows,
                    PanelSums& sums) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float scale = x_scales[r];
    float* group = sums.group[r];
    for (int i = 0; i < 16; ++i) {
      const std::int32_t whole =
          kPlanes == 2 ? products[0][r][i] * 128 + products[kPlanes - 1][r][i] : products[0][r][i];
      group[i] = __builtin_fmaf(static_cast<float>(whole), scale, group[i]);
    }
  }
}

/// Tiles 0 to 3 hold sums, 4 and 5 activations, 6 codes.
template <class Tiles>
inline void configure(std::int64_t rows) {
  TileConfig config;
  for (int t = 0; t < 6; ++t) {
    config.rows[t] = static_cast<std::uint8_t>(rows);
    config.row_bytes[t] = t < 4 ? 64 : static_cast<std::uint16_t>(kUnitInputs);
  }
  config.rows[6] = 8;
  config.row_bytes[6] = 64;
  Tiles::configure(config);
}

/// `units` decoded units, all of one group, for one panel. `unit` counts from the start of the row.
template <class Tiles, int kPlanes>
inline void panel_units(const PackedArgs& args, TileWork& work, std::int64_t first_row, std::int64_t rows,
                        std::int64_t unit, std::int64_t units, PanelSums& sums) {
  const Activations& x = args.x;
  const std::int8_t* codes = x.codes + first_row * kPlanes * x.padded_k() + unit * kPlanes * kUnitInputs * rows;
  const float* scales = x.scales + first_row * (x.padded_k() / kUnitInputs) + unit * rows;
  for (std::int64_t u = 0; u < units; ++u) {
    const std::int8_t* from = codes + u * kPlanes * kUnitInputs * rows;
    const std::uint8_t* decoded = work.decoded + u * 512;
    // The products of a unit are stored while those of the one before are rescaled.
    if (u % 2 == 0) {
      unit_products<Tiles, kPlanes, 0>(from, rows, decoded, work.products[0]);
    } else {
      unit_products<Tiles, kPlanes, 2>(from, rows, decoded, work.products[1]);
    }
    if (u > 0) rescale<Tiles, kPlanes>(work.products[(u - 1) % 2], scales + (u - 1) * rows, rows, sums);
  }
  rescale<Tiles, kPlanes>(work.products[(units - 1) % 2], scales + (units - 1) * rows, rows, sums);
}

template <class Tiles>
inline void finish_panel(const PackedArgs& args, std::int64_t first, std::int64_t first_row, std::int64_t rows,
                         const PanelSums& sums) {
  const std::int64_t count = args.layout.n - first < 16 ? args.layout.n - first : 16;
  for (std::int64_t r = 0; r < rows; ++r) {
    float* y = args.y + (first_row + r) * args.layout.n + first;
    for (std::int64_t i = 0; i < count; ++i) {
      y[i] = args.bias != nullptr ? sums.total[r][i] + args.bias[first + i] : sums.total[r][i];
    }
  }
}

/// One block of outputs for up to kBatchPanels panels: decoded once for all of them. `configured` is the number of rows
/// that the tiles are set to.
template <class Tiles, int kBits, int kPlanes>
inline void block_panels(const PackedArgs& args, TileWork& work, std::int64_t block, std::int64_t panel_begin,
                         std::int64_t panel_end, std::int64_t& configured) {
  const PackedLayout& layout = args.layout;
  const Activations& x = args.x;
  const std::uint8_t* base = args.weight + block * layout.block_bytes();
  const std::int64_t group_units = layout.padded_group() / kUnitInputs;
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    for (auto& row : work.panels[p - panel_begin].total) {
      for (float& value : row) value = 0;
    }
  }
  for (std::int64_t g = 0; g < layout.groups(); ++g) {
    float zero[16];
    float scale[16];
    for (int i = 0; i < 16; ++i) {
      const std::int64_t at = g * kBlockOutputs + i;
      zero[i] = base[layout.zero_offset() + at];
      const std::uint8_t* from = base + layout.scale_offset() + at * layout.scale_bytes();
      std::uint16_t half = 0;
      __builtin_memcpy(&half, from, 2);
      if (layout.half_scales) scale[i] = half_to_float<Tiles>(half);
      if (!layout.half_scales) __builtin_memcpy(&scale[i], from, 4);
    }
    for (std::int64_t done = 0; done < group_units; done += kDecodedUnits) {
      const std::int64_t units = group_units - done < kDecodedUnits ? group_units - done : kDecodedUnits;
      decode_units<Tiles, kBits>(base + g * layout.group_bytes() + done * (kBits == 4 ? 256 : 512), units,
                                 work.decoded);
      for (std::int64_t p = panel_begin; p < panel_end; ++p) {
        const std::int64_t row = x.panel_begin(p);
        const std::int64_t rows = x.panel_begin(p + 1) - row;
        PanelSums& sums = work.panels[p - panel_begin];
        if (configured != rows) configure<Tiles>(rows);
        configured = rows;
        for (std::int64_t r = 0; r < rows && done == 0; ++r) {
          const float minus_sum = x.minus_sums[row * x.groups() + g * rows + r];
          for (int i = 0; i < 16; ++i) sums.group[r][i] = zero[i] * minus_sum;
        }
        panel_units<Tiles, kPlanes>(args, work, row, rows, g * group_units + done, units, sums);
        for (std::int64_t r = 0; r < rows && done + units == group_units; ++r) {
          for (int i = 0; i < 16; ++i) {
            sums.total[r][i] = __builtin_fmaf(sums.group[r][i], scale[i], sums.total[r][i]);
          }
        }
      }
    }
  }
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    const std::int64_t row = x.panel_begin(p);
    finish_panel<Tiles>(args, block * kBlockOutputs, row, x.panel_begin(p + 1) - row, work.panels[p - panel_begin]);
  }
}

template <class Tiles, int kBits, int kPlanes>
inline void packed_tiles(const PackedArgs& args, TileWork& work, std::int64_t block_begin, std::int64_t block_end,
                         std::int64_t panel_begin, std::int64_t panel_end) {
  std::int64_t configured = 0;
  for (std::int64_t block = block_begin; block < block_end; ++block) {
    for (std::int64_t p = panel_begin; p < panel_end; p += kBatchPanels) {
      block_panels<Tiles, kBits, kPlanes>(args, work, block, p,
                                          p + kBatchPanels < panel_end ? p + kBatchPanels : panel_end, configured);
    }
  }
  Tiles::release();
}

}  // namespace awq::kernels::amx
