#pragma once

// Packed kernels on matrix tiles. The tile instructions come from a class, so that a test runs this very source on a
// processor without them; everything else is plain loops over sixteen lanes, which become one vector each.

#include <cstdint>

#include "kernels/api/packed.h"
#include "kernels/cpu/amx/tiles.h"

namespace awq::kernels::amx {

inline constexpr int kTileRows = 16;
// Units decoded at a time: 8 KB for each of two blocks of outputs, which stay in the first-level cache while all panels
// pass over them.
inline constexpr std::int64_t kDecodedUnits = 16;
// Panels whose sums are kept at a time.
inline constexpr std::int64_t kBatchPanels = 16;

// Blocks of outputs that share what is loaded of the activations.
inline constexpr int kPairBlocks = 2;

/// Sums of one panel for one block of outputs.
struct PanelSums {
  alignas(64) float group[kTileRows][16];  ///< within the current group
  alignas(64) float total[kTileRows][16];
};
using Products = std::int32_t[kPairBlocks][2][kTileRows][16];  ///< [block of outputs][plane]

/// Working memory of a thread.
struct TileWork {
  alignas(64) std::uint8_t decoded[kPairBlocks][kDecodedUnits * 512];
  alignas(64) Products products[2];  ///< of one step and of the one before it
  PanelSums panels[kPairBlocks][kBatchPanels];
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

/// A block of inputs, all of one group, for one panel: what one scale of activations covers.
struct InputBlock {
  const std::int8_t* codes;  ///< [chunk][plane][row][chunk bytes]
  const float* scales;       ///< [row]
  const float* minus_sums;   ///< [row], of the group
  std::int64_t rows;
  std::int64_t decoded;  ///< byte of the decoded units that belongs to its first input
  PanelSums* sums[kPairBlocks];
  bool begins_group, ends_group;
};

template <class Tiles, int kPlanes, int kBlock, int kSum>
inline void dot_planes() {
  Tiles::template dot_signed_unsigned<kSum, 4, 6 + kBlock>();
  if constexpr (kPlanes == 2) Tiles::template dot_signed_unsigned<kSum + 1, 5, 6 + kBlock>();
}

/// Products of one block of inputs with kBlocks blocks of outputs, into memory. Tiles 0 to 3 hold sums, 4 and 5 the
/// planes of activations, 6 and 7 the codes of two blocks of outputs. kFirst: the sums of a single plane alternate.
template <class Tiles, int kPlanes, int kBlocks, int kFirst>
inline void block_products(const InputBlock& in, std::int64_t chunk, std::int64_t chunks, const TileWork& work,
                           Products& out) {
  constexpr int kNext = kFirst + kPlanes;  // sums of the second block
  Tiles::template zero<kFirst>();
  if constexpr (kPlanes == 2) Tiles::template zero<kFirst + 1>();
  if constexpr (kBlocks == 2) Tiles::template zero<kNext>();
  if constexpr (kBlocks == 2 && kPlanes == 2) Tiles::template zero<kNext + 1>();
  const std::int8_t* codes = in.codes;
  std::int64_t decoded = in.decoded;
  for (std::int64_t c = 0; c < chunks; ++c) {
    Tiles::template load<6>(work.decoded[0] + decoded, 64);
    Tiles::template load<4>(codes, chunk);
    if constexpr (kPlanes == 2) Tiles::template load<5>(codes + chunk * in.rows, chunk);
    dot_planes<Tiles, kPlanes, 0, kFirst>();
    if constexpr (kBlocks == 2) {
      Tiles::template load<7>(work.decoded[1] + decoded, 64);
      dot_planes<Tiles, kPlanes, 1, kNext>();
    }
    codes += kPlanes * chunk * in.rows;
    decoded += chunk * 16;
  }
  Tiles::template store<kFirst>(out[0][0], 64);
  if constexpr (kPlanes == 2) Tiles::template store<kFirst + 1>(out[0][1], 64);
  if constexpr (kBlocks == 2) Tiles::template store<kNext>(out[1][0], 64);
  if constexpr (kBlocks == 2 && kPlanes == 2) Tiles::template store<kNext + 1>(out[1][1], 64);
}

/// Scales and zero points of one group for kBlocks blocks of outputs.
struct GroupScales {
  alignas(64) float scale[kPairBlocks][16];
  alignas(64) float zero[kPairBlocks][16];
};
template <class Tiles>
inline void load_group(const PackedArgs& args, std::int64_t block, std::int64_t group, int at, GroupScales& out) {
  const PackedLayout& layout = args.layout;
  const std::uint8_t* scales = args.weight + layout.scales_at(block);
  const std::uint8_t* zeros = args.weight + layout.zeros_at(block);
  for (int i = 0; i < 16; ++i) {
    const std::int64_t place = group * kBlockOutputs + i;
    out.zero[at][i] = zeros[place];
    std::uint16_t half = 0;
    if (layout.half_scales) {
      __builtin_memcpy(&half, scales + place * 2, 2);
      out.scale[at][i] = half_to_float<Tiles>(half);
    } else {
      __builtin_memcpy(&out.scale[at][i], scales + place * 4, 4);
    }
  }
}

/// Adds products to the sums of their panel.
template <class Tiles, int kPlanes, int kBlocks>
inline void rescale(const InputBlock& in, const Products& products, const GroupScales& group) {
  for (int block = 0; block < kBlocks; ++block) {
    for (std::int64_t r = 0; r < in.rows; ++r) {
      float t[16];
      float* kept = in.sums[block]->group[r];
      for (int i = 0; i < 16; ++i) t[i] = in.begins_group ? group.zero[block][i] * in.minus_sums[r] : kept[i];
      const float scale = in.scales[r];
      for (int i = 0; i < 16; ++i) {
        const std::int32_t high = products[block][0][r][i];
        const std::int32_t whole = kPlanes == 2 ? high * 128 + products[block][kPlanes - 1][r][i] : high;
        t[i] = __builtin_fmaf(static_cast<float>(whole), scale, t[i]);
      }
      if (in.ends_group) {
        float* total = in.sums[block]->total[r];
        for (int i = 0; i < 16; ++i) total[i] = __builtin_fmaf(t[i], group.scale[block][i], total[i]);
      } else {
        for (int i = 0; i < 16; ++i) kept[i] = t[i];
      }
    }
  }
}

template <class Tiles>
inline void configure(std::int64_t rows, std::int64_t chunk) {
  TileConfig config;
  for (int t = 0; t < 6; ++t) {
    config.rows[t] = static_cast<std::uint8_t>(rows);
    config.row_bytes[t] = t < 4 ? 64 : static_cast<std::uint16_t>(chunk);
  }
  for (int t = 6; t < 8; ++t) {
    config.rows[t] = static_cast<std::uint8_t>(chunk / 4);
    config.row_bytes[t] = 64;
  }
  Tiles::configure(config);
}

/// Runs blocks of inputs, each one's products before the sums of the one before it, so that both units have work.
template <class Tiles, int kPlanes, int kBlocks>
class Pipeline {
 public:
  Pipeline(TileWork& work, const GroupScales& group, std::int64_t chunk, std::int64_t chunks)
      : work_(work), group_(group), chunk_(chunk), chunks_(chunks) {}
  void run(const InputBlock& in) {
    if (kPlanes == 2 || !odd_) {
      block_products<Tiles, kPlanes, kBlocks, 0>(in, chunk_, chunks_, work_, work_.products[odd_ ? 1 : 0]);
    } else {
      block_products<Tiles, kPlanes, kBlocks, kPlanes == 2 ? 0 : 2>(in, chunk_, chunks_, work_, work_.products[1]);
    }
    finish();
    before_ = in;
    waits_ = true;
    odd_ = !odd_;
  }
  void finish() {
    if (waits_) rescale<Tiles, kPlanes, kBlocks>(before_, work_.products[odd_ ? 0 : 1], group_);
    waits_ = false;
  }

 private:
  TileWork& work_;
  const GroupScales& group_;
  std::int64_t chunk_, chunks_;
  InputBlock before_{};
  bool odd_ = false, waits_ = false;
};

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

/// kBlocks neighbouring blocks of outputs for up to kBatchPanels panels: decoded once for all of them. `configured` is
/// the number of rows that the tiles are set to.
template <class Tiles, int kBits, int kPlanes, int kBlocks>
inline void block_panels(const PackedArgs& args, TileWork& work, std::int64_t block, std::int64_t panel_begin,
                         std::int64_t panel_end, std::int64_t& configured) {
  const PackedLayout& layout = args.layout;
  const Activations& x = args.x;
  const std::int64_t inputs = kPlanes == 1 ? kUnitInputs : x.scale_inputs();
  const std::int64_t chunk = kPlanes == 1 ? kUnitInputs : x.row_bytes();
  const std::int64_t blocks_of_group = layout.padded_group() / inputs;
  const std::int64_t at_a_time = kDecodedUnits * kUnitInputs / inputs;  // blocks of inputs
  for (int b = 0; b < kBlocks; ++b) {
    for (std::int64_t p = panel_begin; p < panel_end; ++p) {
      for (auto& row : work.panels[b][p - panel_begin].total) {
        for (float& value : row) value = 0;
      }
    }
  }
  GroupScales group;
  for (std::int64_t g = 0; g < layout.groups(); ++g) {
    for (int b = 0; b < kBlocks; ++b) load_group<Tiles>(args, block + b, g, b, group);
    for (std::int64_t done = 0; done < blocks_of_group; done += at_a_time) {
      const std::int64_t count = blocks_of_group - done < at_a_time ? blocks_of_group - done : at_a_time;
      const std::int64_t unit = done * inputs / kUnitInputs;
      for (int b = 0; b < kBlocks; ++b) {
        const std::uint8_t* lines = args.weight + layout.codes_at(block + b) + g * layout.group_bytes();
        decode_units<Tiles, kBits>(lines + unit * (kBits == 4 ? 256 : 512), count * inputs / kUnitInputs,
                                   work.decoded[b]);
      }
      Pipeline<Tiles, kPlanes, kBlocks> pipeline(work, group, chunk, inputs / chunk);
      for (std::int64_t p = panel_begin; p < panel_end; ++p) {
        const std::int64_t row = x.panel_begin(p);
        const std::int64_t rows = x.panel_begin(p + 1) - row;
        if (configured != rows) configure<Tiles>(rows, chunk);
        configured = rows;
        InputBlock in{};
        in.rows = rows;
        in.minus_sums = x.minus_sums + row * x.groups() + g * rows;
        for (int b = 0; b < kBlocks; ++b) in.sums[b] = &work.panels[b][p - panel_begin];
        for (std::int64_t i = 0; i < count; ++i) {
          const std::int64_t at = g * blocks_of_group + done + i;  // of the row
          in.codes = x.codes + row * kPlanes * x.padded_k() + at * inputs * kPlanes * rows;
          in.scales = x.scales + row * x.scale_blocks() + at * rows;
          in.decoded = i * inputs * 16;
          in.begins_group = done + i == 0;
          in.ends_group = done + i + 1 == blocks_of_group;
          pipeline.run(in);
        }
      }
      pipeline.finish();
    }
  }
  for (int b = 0; b < kBlocks; ++b) {
    for (std::int64_t p = panel_begin; p < panel_end; ++p) {
      const std::int64_t row = x.panel_begin(p);
      finish_panel<Tiles>(args, (block + b) * kBlockOutputs, row, x.panel_begin(p + 1) - row,
                          work.panels[b][p - panel_begin]);
    }
  }
}

template <class Tiles, int kBits, int kPlanes>
inline void packed_tiles(const PackedArgs& args, TileWork& work, std::int64_t block_begin, std::int64_t block_end,
                         std::int64_t panel_begin, std::int64_t panel_end) {
  std::int64_t configured = 0;
  for (std::int64_t p = panel_begin; p < panel_end; p += kBatchPanels) {
    const std::int64_t end = p + kBatchPanels < panel_end ? p + kBatchPanels : panel_end;
    std::int64_t block = block_begin;
    for (; block + kPairBlocks <= block_end; block += kPairBlocks) {
      block_panels<Tiles, kBits, kPlanes, kPairBlocks>(args, work, block, p, end, configured);
    }
    for (; block < block_end; ++block) block_panels<Tiles, kBits, kPlanes, 1>(args, work, block, p, end, configured);
  }
  Tiles::release();
}

}  // namespace awq::kernels::amx
