// Products of pairs: half the multiplications, additions in their place. With inputs x, x' and codes w, w' of a pair,
//
//   x w + x' w' = (x + w') (x' + w) - x x' - w w'
//
// (S. Winograd, A New Algorithm for Inner Product, IEEE Transactions on Computers C-17, 1968). The last two terms
// belong to the row and to the output alone; all is exact in integers. A pair is inputs i and i + 4 of a line of codes:
// its low and its high nibble. vpdpbusd takes an unsigned and a signed factor, so inputs of a first half come 120
// higher and those of a second half 8 lower: x + 120 + w' is within 0 .. 255 and x' - 8 + w within -128 .. 127, because
// |x| <= 120 (kLargestActivation).
//
// This pays where additions of bytes run in ports that products do not use. Zen 4 multiplies (and multiplies and adds)
// in two of its four vector ports and adds in all: 32 inputs of a row and sixteen outputs take 4 products and 8
// additions where they took 8 products.
//
// Built with AVX-512 F, BW, VL, DQ and VNNI: kernel headers and intrinsics only.
#include "kernels/cpu/avx512vnni/packed_avx512vnni_pairs.h"

#include <immintrin.h>

namespace awq::kernels::avx512vnni {
namespace {

#include "kernels/cpu/packed_lanes512.h"

constexpr int kRows = 8;   // of a panel
constexpr int kLines = 4;  // of a unit
constexpr int kRaisedBy = 120, kLoweredBy = 8;
static_assert(kRaisedBy == kLargestActivation && kRaisedBy + kLargestActivation + 15 == 255 &&
              -kLoweredBy - kLargestActivation == -128);
// Units whose codes are expanded at a time: 16 KB, which stay in the first-level cache while all panels pass over them.
constexpr std::int64_t kExpandedUnits = 32;
// Panels whose sums are kept at a time.
constexpr std::int64_t kBatchPanels = 16;

/// A unit of a block of outputs, ready to be multiplied.
struct ExpandedUnit {
  alignas(64) std::uint8_t codes[kLines][2][64];  ///< low and high nibbles of each line
  alignas(64) std::int32_t minus_pairs[16];       ///< minus what the codes alone add to a sum of products
};
struct Expanded {
  ExpandedUnit units[kExpandedUnits];
  std::int64_t first = 0, count = 0;   ///< of the units of a row
  std::int64_t group = 0, within = 0;  ///< of the first unit: its group, its place in there
  /// Each panel asks for a part of the codes to expand next, this many lines with every unit, into the second-level
  /// cache: all at once they would hold up the expansion.
  std::int64_t coming_lines = 0;
};

/// What the layouts say, which takes divisions to find out.
struct Sizes {
  std::int64_t units, groups, units_of_group;

  explicit Sizes(const PackedLayout& layout)
      : units(layout.padded_k() / kUnitInputs),
        groups(layout.groups()),
        units_of_group(layout.padded_group() / kUnitInputs) {}
};

/// Sums of one panel.
struct PanelSums {
  alignas(64) float group[kRows][16];  ///< within the current group
  alignas(64) float total[kRows][16];
};

void expand(const std::uint8_t* lines, const Sizes& sizes, std::int64_t first, Expanded& to) {
  const std::int64_t count = sizes.units - first < kExpandedUnits ? sizes.units - first : kExpandedUnits;
  to.first = first;
  to.count = count;
  to.group = first / sizes.units_of_group;
  to.within = first % sizes.units_of_group;
  lines += first * kLines * 64;
  const __m512i raised = _mm512_set1_epi8(kRaisedBy), lowered = _mm512_set1_epi8(kLoweredBy);
  // With inputs of zero the products are what the codes alone make of them, and -120 * 8 for each of 16 pairs.
  const __m512i offsets = _mm512_set1_epi32(-kRaisedBy * kLoweredBy * 16);
  for (std::int64_t unit = 0; unit < count; ++unit) {
    __m512i products = _mm512_setzero_si512();
    for (int line = 0; line < kLines; ++line, lines += 64) {
      const __m512i bytes = Lanes512::load(lines);
      const __m512i low = Lanes512::low_nibbles(bytes), high = Lanes512::high_nibbles(bytes);
      _mm512_store_si512(to.units[unit].codes[line][0], low);
      _mm512_store_si512(to.units[unit].codes[line][1], high);
      products = _mm512_dpbusd_epi32(products, _mm512_add_epi8(high, raised), _mm512_sub_epi8(low, lowered));
    }
    _mm512_store_si512(to.units[unit].minus_pairs, _mm512_sub_epi32(offsets, products));
  }
}

/// Scales and zero points of a block of outputs, [group][16].
struct BlockScales {
  const std::uint8_t* scales;
  const std::uint8_t* zeros;
  bool half_scales;
};

/// The expanded units for one panel of R rows.
template <int R>
void panel_units(const Activations& x, const Sizes& sizes, const BlockScales& block, const Expanded& expanded,
                 std::int64_t first_row, const std::uint8_t* coming, PanelSums& sums) {
  const std::int64_t unit_of_panel = first_row * sizes.units + expanded.first * R;
  const std::int8_t* codes = x.codes + unit_of_panel * kUnitInputs;
  const float* x_scales = x.scales + unit_of_panel;
  const std::int32_t* minus_pairs = x.minus_pairs + unit_of_panel;
  const float* minus_sums = x.minus_sums + first_row * sizes.groups;
  __m512 t[R], total[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    t[r] = _mm512_load_ps(sums.group[r]);
    total[r] = _mm512_load_ps(sums.total[r]);
  }
  std::int64_t group = expanded.group;
  std::int64_t within = expanded.within;
  const ExpandedUnit* const end = expanded.units + expanded.count;
  for (const ExpandedUnit* unit = expanded.units; unit != end; ++unit) {
    if (within == 0) {
      const __m512 zero = Lanes512::from_bytes(block.zeros + group * kBlockOutputs);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) t[r] = Lanes512::multiply(zero, minus_sums[group * R + r]);
    }
    for (std::int64_t line = 0; line < expanded.coming_lines; ++line, coming += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(coming), _MM_HINT_T1);
    }
    const __m512i of_codes = _mm512_load_si512(unit->minus_pairs);
    __m512i sum[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) sum[r] = _mm512_add_epi32(of_codes, _mm512_set1_epi32(minus_pairs[r]));
#pragma GCC unroll 4
    for (int line = 0; line < kLines; ++line) {
      const __m512i low = _mm512_load_si512(unit->codes[line][0]);
      const __m512i high = _mm512_load_si512(unit->codes[line][1]);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m512i raised = Lanes512::broadcast(codes + (2 * line * R + r) * 4);
        const __m512i lowered = Lanes512::broadcast(codes + ((2 * line + 1) * R + r) * 4);
        sum[r] = _mm512_dpbusd_epi32(sum[r], _mm512_add_epi8(raised, high), _mm512_add_epi8(lowered, low));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) t[r] = Lanes512::multiply_add(Lanes512::to_floats(sum[r]), x_scales[r], t[r]);
    codes += kUnitInputs * R;
    x_scales += R;
    minus_pairs += R;
    if (++within == sizes.units_of_group) {
      const std::int64_t at = group * kBlockOutputs;
      const __m512 scale = block.half_scales ? Lanes512::from_halves(block.scales + at * 2)
                                             : Lanes512::from_floats(block.scales + at * 4);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) total[r] = Lanes512::multiply_add(t[r], scale, total[r]);
      within = 0;
      ++group;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    _mm512_store_ps(sums.group[r], t[r]);
    _mm512_store_ps(sums.total[r], total[r]);
  }
}

void finish_panel(const PackedArgs& args, std::int64_t block, std::int64_t first_row, std::int64_t rows,
                  const PanelSums& sums) {
  const std::int64_t first = block * kBlockOutputs;
  const std::int64_t count = args.layout.n - first < kBlockOutputs ? args.layout.n - first : kBlockOutputs;
  const auto mask = static_cast<__mmask16>((1U << count) - 1U);
  const __m512 bias = args.bias != nullptr ? _mm512_maskz_loadu_ps(mask, args.bias + first) : Lanes512::zero();
  for (std::int64_t r = 0; r < rows; ++r) {
    const __m512 total = _mm512_load_ps(sums.total[r]);
    _mm512_mask_storeu_ps(args.y + (first_row + r) * args.layout.n + first, mask,
                          args.bias != nullptr ? Lanes512::add(total, bias) : total);
  }
}

void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  using Units = void (*)(const Activations&, const Sizes&, const BlockScales&, const Expanded&, std::int64_t,
                         const std::uint8_t*, PanelSums&);
  static constexpr Units kByRows[kRows] = {panel_units<1>, panel_units<2>, panel_units<3>, panel_units<4>,
                                           panel_units<5>, panel_units<6>, panel_units<7>, panel_units<8>};
  const Activations& x = args.x;
  const PackedLayout& layout = args.layout;
  const Sizes sizes(layout);
  Expanded expanded;
  PanelSums sums[kBatchPanels];
  for (std::int64_t begin = panel_begin; begin < panel_end; begin += kBatchPanels) {
    const std::int64_t end = begin + kBatchPanels < panel_end ? begin + kBatchPanels : panel_end;
    const std::int64_t parts = end - begin < kLines ? end - begin : kLines;
    expanded.coming_lines = (kLines + parts - 1) / parts;
    for (std::int64_t block = block_begin; block < block_end; ++block) {
      const std::uint8_t* lines = args.weight + layout.codes_at(block);
      const BlockScales scales{args.weight + layout.scales_at(block), args.weight + layout.zeros_at(block),
                               layout.half_scales};
      for (std::int64_t p = begin; p < end; ++p) sums[p - begin] = {};
      for (std::int64_t unit = 0; unit < sizes.units; unit += kExpandedUnits) {
        expand(lines, sizes, unit, expanded);
        const std::uint8_t* next = lines + (unit + expanded.count) * kLines * 64;
        for (std::int64_t p = begin; p < end; ++p) {
          const std::int64_t row = x.panel_begin(p);
          const std::uint8_t* coming = next + (p - begin) % parts * expanded.count * expanded.coming_lines * 64;
          kByRows[x.panel_begin(p + 1) - row - 1](x, sizes, scales, expanded, row, coming, sums[p - begin]);
        }
      }
      for (std::int64_t p = begin; p < end; ++p) {
        finish_panel(args, block, x.panel_begin(p), x.panel_begin(p + 1) - x.panel_begin(p), sums[p - begin]);
      }
    }
  }
}

/// Moves the rounded inputs of a panel to where pairs need them and adds up what they alone add to sums of products.
void prepare(const Activations& x, std::int64_t panel) noexcept {
  const std::int64_t first = x.panel_begin(panel);
  const std::int64_t rows = x.panel_begin(panel + 1) - first;
  const auto mask = static_cast<__mmask8>((1U << rows) - 1U);
  const __m256i raised_by = _mm256_set1_epi8(kRaisedBy), lowered_by = _mm256_set1_epi8(kLoweredBy);
  std::int8_t* codes = x.codes + first * x.padded_k();
  std::int32_t* minus_pairs = x.minus_pairs + first * x.scale_blocks();
  for (std::int64_t unit = 0; unit < x.scale_blocks(); ++unit) {
    __m256i pairs = _mm256_setzero_si256();
    for (int line = 0; line < kLines; ++line) {
      const __m256i raised = _mm256_add_epi8(_mm256_maskz_loadu_epi32(mask, codes), raised_by);
      const __m256i lowered = _mm256_sub_epi8(_mm256_maskz_loadu_epi32(mask, codes + 4 * rows), lowered_by);
      _mm256_mask_storeu_epi32(codes, mask, raised);
      _mm256_mask_storeu_epi32(codes + 4 * rows, mask, lowered);
      pairs = _mm256_dpbusd_epi32(pairs, raised, lowered);
      codes += 8 * rows;
    }
    _mm256_mask_storeu_epi32(minus_pairs, mask, _mm256_sub_epi32(_mm256_setzero_si256(), pairs));
    minus_pairs += rows;
  }
}

// From 24 rows on it is the faster one where a core belongs to one thread (32 rows: 1.05 times). Where the core's other
// thread has work, twice the instructions weigh more, and fewer rows lose.
constexpr std::int64_t kPairRows = 96;

}  // namespace

const PackedKernel kI8U4Pairs = {
    "linear_i8_u4g_f32_avx512vnni_pairs", 4, 1, 3, CpuFeature::kFreeAdditions, kRows, false, kPairRows, run, prepare};

}  // namespace awq::kernels::avx512vnni
