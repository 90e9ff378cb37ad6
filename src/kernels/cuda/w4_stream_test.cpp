// The packed stream of 4-bit weights for NVIDIA devices, on the processor: every bit has one place, packing fills it,
// and what a lane loads is the fragment that its matrix instruction expects.

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/float16.h"
#include "base/random.h"
#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

// Tails in N and in K, groups below, at and above 128 inputs, whole rows.
constexpr W4Layout kLayouts[] = {{128, 128, 128}, {1, 8, 32},      {136, 200, 200}, {200, 200, 64}, {96, 344, 344},
                                 {144, 640, 32},  {130, 256, 256}, {17, 1024, 512}, {300, 72, 64},  {256, 384, 128}};

/// A random quantized weight and its stream.
struct Packed {
  Packed(const W4Layout& shape, std::uint64_t seed)
      : layout(shape), groups((shape.k + shape.group_size - 1) / shape.group_size) {
    codes.resize(static_cast<std::size_t>(layout.n * layout.k));
    scales.resize(static_cast<std::size_t>(layout.n * groups));
    zeros.resize(scales.size());
    std::uint64_t counter = 0;
    for (auto& v : codes) v = static_cast<std::uint8_t>(random_bits(seed, counter++) & 15);
    for (auto& v : zeros) v = static_cast<std::uint8_t>(random_bits(seed, counter++) & 15);
    for (auto& v : scales) v = to_float(to_f16(static_cast<float>(0.001 + 0.01 * uniform(seed, counter++))));
    bytes.assign(static_cast<std::size_t>(layout.bytes()), 0xEE);
    for (std::int64_t strip = 0; strip < layout.strips(); ++strip) {
      w4_pack_strip(layout, {codes.data(), scales.data(), zeros.data()}, strip,
                    bytes.data() + strip * layout.strip_bytes());
    }
  }
  std::uint8_t byte(std::int64_t at) const { return bytes.at(static_cast<std::size_t>(at)); }
  std::uint32_t word(std::int64_t at) const {
    std::uint32_t v = 0;
    EXPECT_LE(at + 4, layout.bytes());
    std::memcpy(&v, bytes.data() + at, sizeof v);
    return v;
  }
  bool inside(std::int64_t row, std::int64_t input) const { return row < layout.n && input < layout.k; }
  int code(std::int64_t row, std::int64_t input) const {
    return inside(row, input) ? codes[static_cast<std::size_t>(row * layout.k + input)] : 0;
  }
  std::size_t group(std::int64_t row, std::int64_t input) const {
    return static_cast<std::size_t>(row * groups + input / layout.group_size);
  }
  int zero(std::int64_t row, std::int64_t input) const { return inside(row, input) ? zeros[group(row, input)] : 0; }
  float scale(std::int64_t row, std::int64_t input) const { return inside(row, input) ? scales[group(row, input)] : 0; }

  W4Layout layout;
  std::int64_t groups;
  std::vector<std::uint8_t> codes, zeros, bytes;
  std::vector<float> scales;
};

std::string name_of(const W4Layout& l) {
  return std::to_string(l.n) + " x " + std::to_string(l.k) + ", group " + std::to_string(l.group_size);
}

TEST(W4Stream, EveryBitHasOnePlace) {
  for (const W4Layout& l : kLayouts) {
    SCOPED_TRACE(name_of(l));
    std::vector<std::uint8_t> uses(static_cast<std::size_t>(l.bytes() * 8), 0);  // of every bit
    const auto use = [&](std::int64_t byte, int bit, int width) {
      for (int i = 0; i < width; ++i) ++uses.at(static_cast<std::size_t>(byte * 8 + bit + i));
    };
    const std::int64_t rows = l.strips() * 128;
    const std::int64_t span = 128 / l.step_groups();
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t input = 0; input < l.steps() * 128; ++input) {
        use(w4_vector_offset(l, row, input), w4_code_bit(row, input), 4);
        if (input % span != 0) continue;
        use(w4_scale_offset(l, row, input), 0, 16);
        use(w4_zero_offset(l, row, input), row / 8 % 2 == 0 ? 0 : 4, 4);
      }
    }
    // All of a slab is used once but for its last bytes, which pad it to 16.
    const std::int64_t used = 1024 + 40 * l.step_groups();
    for (std::int64_t byte = 0; byte < l.bytes(); ++byte) {
      const int expected = byte % l.slab_bytes() < used ? 1 : 0;
      for (int bit = 0; bit < 8; ++bit) {
        ASSERT_EQ(uses[static_cast<std::size_t>(byte * 8 + bit)], expected) << "byte " << byte << " bit " << bit;
      }
    }
  }
}

TEST(W4Stream, PackingIsUndoneByTheFormulas) {
  for (const W4Layout& l : kLayouts) {
    SCOPED_TRACE(name_of(l));
    const Packed p(l, 7);
    ASSERT_EQ(w4_objection(l.n, l.k, l.group_size, p.scales.data(), static_cast<std::int64_t>(p.scales.size())),
              nullptr);
    for (std::int64_t row = 0; row < l.strips() * 128; ++row) {
      for (std::int64_t input = 0; input < l.steps() * 128; ++input) {
        const int bit = w4_code_bit(row, input);
        ASSERT_EQ(p.byte(w4_vector_offset(l, row, input) + bit / 8) >> (bit % 8) & 15, p.code(row, input))
            << row << " " << input;
        if (!p.inside(row, input)) continue;
        std::uint16_t half = 0;
        std::memcpy(&half, p.bytes.data() + w4_scale_offset(l, row, input), sizeof half);
        ASSERT_EQ(to_float(F16{half}), p.scale(row, input)) << row << " " << input;
        ASSERT_EQ(p.byte(w4_zero_offset(l, row, input)) >> (row / 8 % 2 * 4) & 15, p.zero(row, input))
            << row << " " << input;
      }
    }
  }
}

TEST(W4Stream, PaddingIsZero) {
  const W4Layout l{17, 200, 64};
  const Packed p(l, 3);
  for (std::int64_t row = l.n; row < 128; ++row) {
    for (std::int64_t input = 0; input < 256; input += 64) {
      EXPECT_EQ(p.byte(w4_scale_offset(l, row, input)), 0);
      EXPECT_EQ(p.byte(w4_scale_offset(l, row, input) + 1), 0);
      EXPECT_EQ(p.byte(w4_zero_offset(l, row, input)) >> (row / 8 % 2 * 4) & 15, 0);
    }
  }
}

/// Two numbers of a type in a word, the lower half first.
template <typename T>
std::array<float, 2> halves(std::uint32_t word) {
  return {to_float(T{static_cast<std::uint16_t>(word)}), to_float(T{static_cast<std::uint16_t>(word >> 16)})};
}

/// What the instructions of w4_dequant.cuh compute from a word of codes and a byte of zero points: values of the four
/// registers of an A fragment, code - zero point or (BF16) a 64th of it.
template <typename T>
std::array<std::array<float, 2>, 4> expand(std::uint32_t word, std::uint32_t zero_byte) {
  constexpr bool kF16 = std::is_same_v<T, F16>;
  std::array<std::array<float, 2>, 4> out{};
  for (int r = 0; r < 4; ++r) {
    const bool high = r % 2 == 1;
    const std::uint32_t mask = high ? 0x00f000f0U : 0x000f000fU;
    const std::uint32_t codes = word >> (r / 2 * 8) & mask;
    const std::uint32_t zeros = zero_byte * 0x10001U & mask;
    // Over the exponent of 1024 or 64; numbers below 2^-125 times 2^127 or 2^123.
    const std::uint32_t bits = !kF16 ? 0 : high ? 0x54005400U : 0x64006400U;
    const float factor = kF16 ? 1.0F : high ? 0x1p123F : 0x1p127F;
    const auto a = halves<T>(codes | bits);
    const auto z = halves<T>(zeros | bits);
    for (std::size_t e = 0; e < 2; ++e) out[static_cast<std::size_t>(r)][e] = a[e] * factor - z[e] * factor;
  }
  return out;
}

template <typename T>
void check_fragments(const Packed& p) {
  const W4Layout& l = p.layout;
  const std::int64_t span = 128 / l.step_groups();
  for (std::int64_t row = 0; row < l.n; row += 16) {
    for (std::int64_t step = 0; step < l.steps(); ++step) {
      const std::int64_t slab = w4_slab_offset(l, row, step * 128);
      for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4;
        const int t = lane % 4;
        for (int j = 0; j < 8; ++j) {  // 16 inputs each: four words of each of the two vectors that a lane loads
          const std::int64_t first = step * 128 + j * 16;
          const std::int64_t record = slab + 1024 + l.step_groups() * 32 + j * 16 / span * 8;
          const auto registers = expand<T>(p.word(slab + j / 4 * 512 + lane * 16 + j % 4 * 4), p.byte(record + g));
          for (int h = 0; h < 2; ++h) {
            for (int u = 0; u < 2; ++u) {
              for (int e = 0; e < 2; ++e) {
                const std::int64_t r = row + g + 8 * h;
                const std::int64_t input = first + 8 * u + 2 * t + e;
                if (!p.inside(r, input)) continue;
                ASSERT_EQ(registers[static_cast<std::size_t>(h + 2 * u)][static_cast<std::size_t>(e)],
                          static_cast<float>(p.code(r, input) - p.zero(r, input)) / (std::is_same_v<T, F16> ? 1 : 64))
                    << "row " << r << " input " << input << " lane " << lane << " word " << j;
              }
            }
          }
        }
      }
    }
  }
}

TEST(W4Stream, WordsOfALaneAreItsFragment) {
  for (const W4Layout& l : kLayouts) {
    SCOPED_TRACE(name_of(l));
    const Packed p(l, 11);
    check_fragments<F16>(p);
    check_fragments<Bf16>(p);
  }
}

TEST(W4Stream, ScalesOfALaneLieInOneWord) {
  const W4Layout l{48, 256, 32};
  const Packed p(l, 5);
  for (std::int64_t row = 0; row < l.n; row += 16) {
    for (std::int64_t input = 0; input < l.k; input += 32) {
      for (int g = 0; g < 8; ++g) {
        const auto pair = halves<F16>(p.word(w4_slab_offset(l, row, input) + 1024 + (input & 127) / 32 * 32 + g * 4));
        EXPECT_EQ(pair[0], p.scale(row + g, input));
        EXPECT_EQ(pair[1], p.scale(row + g + 8, input));
      }
    }
  }
}

TEST(W4Stream, Objections) {
  const float scale = 0.5F;
  EXPECT_EQ(w4_objection(5, 128, 32, &scale, 1), nullptr);
  EXPECT_EQ(w4_objection(5, 200, 200, &scale, 1), nullptr);
  EXPECT_EQ(w4_objection(5, 40, 40, &scale, 1), nullptr) << "the padding behind the row is zeros";
  EXPECT_NE(w4_objection(5, 1024, 96, &scale, 1), nullptr);
  EXPECT_NE(w4_objection(5, 132, 32, &scale, 1), nullptr);
  const float fine = 0.1F;  // no F16 number
  EXPECT_NE(w4_objection(5, 128, 32, &fine, 1), nullptr);
}

TEST(W4Stream, LeavesCoverTheSteps) {
  for (std::int64_t k = 8; k <= 40000; k += 8) {
    const int leaves = w4_leaves(k);
    const int steps = static_cast<int>((k + 127) / 128);
    ASSERT_TRUE(leaves == 1 || leaves == 2 || leaves == 4 || leaves == 8);
    ASSERT_EQ(w4_leaf_begin(0, steps, leaves), 0);
    ASSERT_EQ(w4_leaf_begin(leaves, steps, leaves), steps);
    for (int i = 0; i < leaves; ++i) {
      ASSERT_LT(w4_leaf_begin(i, steps, leaves), w4_leaf_begin(i + 1, steps, leaves)) << k;
    }
  }
}

}  // namespace
}  // namespace awq::kernels::cuda
