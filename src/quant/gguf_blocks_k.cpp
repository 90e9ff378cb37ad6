// GGUF types of 256 weights, whose parts share two F16 numbers and have small integer scales of their own. Procedures
// and layouts: docs/formats/gguf-blocks.md. Sums run in the order of the weights, in binary32 and without fused
// multiply-add (CMakeLists.txt), because the results are compared with llama.cpp's byte for byte.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "quant/gguf_block_bytes.h"
#include "quant/gguf_blocks.h"

namespace awq::quant::gguf {
namespace {

constexpr int kWeights = 256;
// Below this a part counts as zero.
constexpr float kTiny = 1e-15F;

/// Round to nearest, ties to even, by the low bits of a float near 2^23: beyond 22 bits the result wraps around as it
/// does in llama.cpp, which only happens for scales that underflow F16.
int nearest(float x) {
  return static_cast<int>(std::bit_cast<std::uint32_t>(x + 12582912.0F) & 0x007FFFFFU) - 0x00400000;
}

/// scale * code + low for one part; `minimum` = -low is never negative.
struct AffineFit {
  float scale = 0;
  float minimum = 0;
};

/// Which ranges are tried: (first + step * i + largest) / (high - low), i = 0 .. steps.
struct AffineSearch {
  int largest;
  float first;
  float step;
  int steps;
};

constexpr int kAffinePart = 32;

float affine_error(const float* x, const float* weight, const std::uint8_t* codes, float scale, float low) {
  float error = 0;
  for (int i = 0; i < kAffinePart; ++i) {
    const float difference = scale * static_cast<float>(codes[i]) + low - x[i];
    error += weight[i] * (difference * difference);
  }
  return error;
}

void affine_codes(const float* x, float inverse, float low, int largest, std::uint8_t* codes) {
  for (int i = 0; i < kAffinePart; ++i) {
    codes[i] = static_cast<std::uint8_t>(std::clamp(nearest(inverse * (x[i] - low)), 0, largest));
  }
}

/// Weighted least squares for scale and minimum from the codes of several candidate ranges; the best one is kept. The
/// minimum that the candidates start from is the best found so far.
AffineFit search_affine(const float* x, const float* weight, const AffineSearch& search, std::uint8_t* codes) {
  float low = x[0];
  float high = x[0];
  float sum_w = weight[0];
  float sum_x = sum_w * x[0];
  for (int i = 1; i < kAffinePart; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    sum_w += weight[i];
    sum_x += weight[i] * x[i];
  }
  low = std::min(low, 0.0F);
  if (high == low) {
    std::fill(codes, codes + kAffinePart, std::uint8_t{0});
    return {0, -low};
  }
  const float start = static_cast<float>(search.largest) / (high - low);
  float scale = 1 / start;
  affine_codes(x, start, low, search.largest, codes);
  float best = affine_error(x, weight, codes, scale, low);
  for (int i = 0; i <= search.steps; ++i) {
    const float inverse =
        (search.first + search.step * static_cast<float>(i) + static_cast<float>(search.largest)) / (high - low);
    std::uint8_t candidate[kAffinePart];
    affine_codes(x, inverse, low, search.largest, candidate);
    float sum_l = 0;
    float sum_l2 = 0;
    float sum_xl = 0;
    for (int j = 0; j < kAffinePart; ++j) {
      const float l = candidate[j];
      const float wl = weight[j] * l;
      sum_l += wl;
      sum_l2 += wl * l;
      sum_xl += wl * x[j];
    }
    const float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0)) continue;
    float new_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float new_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    if (new_low > 0) {
      new_low = 0;
      new_scale = sum_xl / sum_l2;
    }
    const float error = affine_error(x, weight, candidate, new_scale, new_low);
    if (error < best) {
      std::copy(candidate, candidate + kAffinePart, codes);
      best = error;
      scale = new_scale;
      low = new_low;
    }
  }
  return {scale, -low};
}

/// Six-bit scales and minima of eight parts in twelve bytes: those of the first four parts fill the low six bits of
/// bytes 0..3 and 4..7; of the others the low halves fill bytes 8..11 and the two high bits the tops of bytes 0..7.
struct SixBits {
  static void store(int part, int scale, int minimum, std::uint8_t* bytes) {
    if (part < 4) {
      bytes[part] = static_cast<std::uint8_t>(scale);
      bytes[part + 4] = static_cast<std::uint8_t>(minimum);
    } else {
      bytes[part + 4] = static_cast<std::uint8_t>((scale & 15) | ((minimum & 15) << 4));
      bytes[part - 4] = static_cast<std::uint8_t>(bytes[part - 4] | ((scale >> 4) << 6));
      bytes[part] = static_cast<std::uint8_t>(bytes[part] | ((minimum >> 4) << 6));
    }
  }
  static int scale(int part, const std::uint8_t* bytes) {
    return part < 4 ? bytes[part] & 63 : (bytes[part + 4] & 15) | ((bytes[part - 4] >> 6) << 4);
  }
  static int minimum(int part, const std::uint8_t* bytes) {
    return part < 4 ? bytes[part + 4] & 63 : (bytes[part + 4] >> 4) | ((bytes[part] >> 6) << 4);
  }
};

constexpr int kParts = kWeights / kAffinePart;
constexpr int kScaleBytes = 12;
constexpr int kHeader = 4 + kScaleBytes;  // d, dmin, scales

/// Header and codes of Q4_K and Q5_K.
void quantize_affine(const float* x, const AffineSearch& search, std::uint8_t* header, std::uint8_t* codes) {
  AffineFit fits[kParts];
  float top_scale = 0;
  float top_minimum = 0;
  for (int part = 0; part < kParts; ++part) {
    const float* values = x + part * kAffinePart;
    float squares = 0;
    for (int i = 0; i < kAffinePart; ++i) squares += values[i] * values[i];
    const float typical = std::sqrt(squares / kAffinePart);
    float weight[kAffinePart];
    for (int i = 0; i < kAffinePart; ++i) weight[i] = typical + std::fabs(values[i]);
    fits[part] = search_affine(values, weight, search, codes + part * kAffinePart);
    top_scale = std::max(top_scale, fits[part].scale);
    top_minimum = std::max(top_minimum, fits[part].minimum);
  }
  const float inverse_scale = top_scale > 0 ? 63.0F / top_scale : 0.0F;
  const float inverse_minimum = top_minimum > 0 ? 63.0F / top_minimum : 0.0F;
  std::uint8_t* packed = header + 4;
  for (int part = 0; part < kParts; ++part) {
    // Through a byte, as llama.cpp does it, and not through a clamp: a negative scale wraps to a large one.
    const int scale = std::min<int>(63, static_cast<std::uint8_t>(nearest(inverse_scale * fits[part].scale)));
    const int minimum = std::min<int>(63, static_cast<std::uint8_t>(nearest(inverse_minimum * fits[part].minimum)));
    SixBits::store(part, scale, minimum, packed);
  }
  store_f16(top_scale / 63.0F, header);
  store_f16(top_minimum / 63.0F, header + 2);
  for (int part = 0; part < kParts; ++part) {
    const float scale = load_f16(header) * static_cast<float>(SixBits::scale(part, packed));
    if (scale == 0) continue;
    const float minimum = load_f16(header + 2) * static_cast<float>(SixBits::minimum(part, packed));
    for (int i = part * kAffinePart; i < (part + 1) * kAffinePart; ++i) {
      codes[i] = static_cast<std::uint8_t>(std::clamp(nearest((x[i] + minimum) / scale), 0, search.largest));
    }
  }
}

struct AffinePart {
  float scale, minimum;
};
AffinePart affine_part(const std::uint8_t* header, int part) {
  return {load_f16(header) * static_cast<float>(SixBits::scale(part, header + 4)),
          load_f16(header + 2) * static_cast<float>(SixBits::minimum(part, header + 4))};
}

/// Low halves of the codes of Q4_K and Q5_K: parts 2p and 2p + 1 share 32 bytes.
void store_low_halves(const std::uint8_t* codes, std::uint8_t* out) {
  for (int pair = 0; pair < kParts / 2; ++pair) {
    const std::uint8_t* from = codes + pair * 64;
    for (int i = 0; i < 32; ++i)
      out[pair * 32 + i] = static_cast<std::uint8_t>((from[i] & 15U) | ((from[i + 32] & 15U) << 4));
  }
}
int low_half(const std::uint8_t* bytes, int i) { return (bytes[32 * (i / 64) + i % 32] >> (4 * ((i / 32) & 1))) & 15; }

constexpr int kSymmetricPart = 16;
constexpr int kHalfRange = 32;

/// Scale of 16 weights by the candidate range whose codes correlate best with them, each weighted by its own square.
/// Leaves the codes in -32 .. 31, offset by 32.
float search_symmetric(const float* x, std::uint8_t* codes) {
  float extreme = 0;
  for (int i = 0; i < kSymmetricPart; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (std::fabs(extreme) < kTiny) {
    std::fill(codes, codes + kSymmetricPart, std::uint8_t{0});
    return 0;
  }
  const auto code = [](float value) { return std::clamp(nearest(value), -kHalfRange, kHalfRange - 1); };
  float scale = 0;
  float best = 0;
  // Position 0 comes first; the others must be better.
  for (int position = -10; position <= 9; ++position) {
    const bool first = position == -10;
    if (position == 0) continue;
    const float inverse = first ? -static_cast<float>(kHalfRange) / extreme
                                : -(static_cast<float>(kHalfRange) + 0.1F * static_cast<float>(position)) / extreme;
    float sum_xl = 0;
    float sum_l2 = 0;
    for (int i = 0; i < kSymmetricPart; ++i) {
      const float l = static_cast<float>(code(inverse * x[i]));
      const float weight = x[i] * x[i];
      sum_xl += weight * x[i] * l;
      sum_l2 += weight * l * l;
    }
    const bool better = first || (sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2);
    if (!better) continue;
    scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0.0F;
    best = scale * sum_xl;
    for (int i = 0; i < kSymmetricPart; ++i) {
      codes[i] = static_cast<std::uint8_t>(code(inverse * x[i]) + kHalfRange);
    }
  }
  return scale;
}

}  // namespace

void quantize_q4_k(const float* x, std::uint8_t* out) {
  std::uint8_t codes[kWeights];
  quantize_affine(x, {.largest = 15, .first = -1.0F, .step = 0.1F, .steps = 20}, out, codes);
  store_low_halves(codes, out + kHeader);
}

void dequantize_q4_k(const std::uint8_t* in, float* x) {
  for (int part = 0; part < kParts; ++part) {
    const AffinePart p = affine_part(in, part);
    for (int i = part * kAffinePart; i < (part + 1) * kAffinePart; ++i) {
      x[i] = p.scale * static_cast<float>(low_half(in + kHeader, i)) - p.minimum;
    }
  }
}

void quantize_q5_k(const float* x, std::uint8_t* out) {
  std::uint8_t codes[kWeights];
  quantize_affine(x, {.largest = 31, .first = -0.5F, .step = 0.1F, .steps = 15}, out, codes);
  std::uint8_t* high = out + kHeader;
  std::fill(high, high + 32, std::uint8_t{0});
  for (int i = 0; i < kWeights; ++i) {
    high[i % 32] = static_cast<std::uint8_t>(high[i % 32] | ((codes[i] >> 4) << (i / 32)));
  }
  store_low_halves(codes, high + 32);
}

void dequantize_q5_k(const std::uint8_t* in, float* x) {
  const std::uint8_t* high = in + kHeader;
  for (int part = 0; part < kParts; ++part) {
    const AffinePart p = affine_part(in, part);
    for (int i = part * kAffinePart; i < (part + 1) * kAffinePart; ++i) {
      const int code = low_half(high + 32, i) | (((high[i % 32] >> part) & 1) << 4);
      x[i] = p.scale * static_cast<float>(code) - p.minimum;
    }
  }
}

// ql [128], qh [64], scales i8 [16], d f16.
void quantize_q6_k(const float* x, std::uint8_t* out) {
  constexpr int kScales = kWeights / kSymmetricPart;
  std::uint8_t codes[kWeights];
  float scales[kScales];
  float top = 0;
  for (int part = 0; part < kScales; ++part) {
    scales[part] = search_symmetric(x + part * kSymmetricPart, codes + part * kSymmetricPart);
    if (std::fabs(scales[part]) > std::fabs(top)) top = scales[part];
  }
  std::memset(out, 0, 210);
  if (std::fabs(top) < kTiny) return;
  std::uint8_t* low = out;
  std::uint8_t* high = out + 128;
  std::uint8_t* stored = out + 192;
  const float inverse = -128.0F / top;
  store_f16(1 / inverse, out + 208);
  for (int part = 0; part < kScales; ++part) {
    stored[part] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::min(127, nearest(inverse * scales[part]))));
    const float d = load_f16(out + 208) * static_cast<float>(static_cast<std::int8_t>(stored[part]));
    if (d == 0) continue;
    for (int i = part * kSymmetricPart; i < (part + 1) * kSymmetricPart; ++i) {
      codes[i] = static_cast<std::uint8_t>(std::clamp(nearest(x[i] / d), -kHalfRange, kHalfRange - 1) + kHalfRange);
    }
  }
  for (int i = 0; i < kWeights; ++i) {
    const int half = i / 128;
    const int t = i % 128 / 32;
    const int l = i % 32;
    std::uint8_t& byte = low[64 * half + 32 * (t & 1) + l];
    byte = static_cast<std::uint8_t>(byte | ((codes[i] & 15) << (4 * (t >> 1))));
    std::uint8_t& bits = high[32 * half + l];
    bits = static_cast<std::uint8_t>(bits | ((codes[i] >> 4) << (2 * t)));
  }
}

void dequantize_q6_k(const std::uint8_t* in, float* x) {
  const std::uint8_t* high = in + 128;
  const float d = load_f16(in + 208);
  for (int i = 0; i < kWeights; ++i) {
    const int half = i / 128;
    const int t = i % 128 / 32;
    const int l = i % 32;
    const int code =
        ((in[64 * half + 32 * (t & 1) + l] >> (4 * (t >> 1))) & 15) | (((high[32 * half + l] >> (2 * t)) & 3) << 4);
    const float scale = d * static_cast<float>(static_cast<std::int8_t>(in[192 + i / kSymmetricPart]));
    x[i] = scale * static_cast<float>(code - 32);
  }
}

}  // namespace awq::quant::gguf
