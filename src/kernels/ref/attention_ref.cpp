#include "kernels/ref/attention_ref.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/float16.h"
#include "base/float8.h"
#include "kernels/kv_scale.h"

namespace awq::kernels {

float exp_nonpositive(float x) noexcept {
  using namespace exp_constants;
  if (x < kLowest) return 0;
  const float shifted = std::fma(x, kLog2E, kMagic);
  const float n = shifted - kMagic;
  float r = std::fma(n, kMinusLn2High, x);
  r = std::fma(n, kMinusLn2Low, r);
  float p = kC5;
  for (const float c : {kC4, kC3, kC2, kC1, kC0}) p = std::fma(p, r, c);
  p = std::fma(p, r * r, r) + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n)) << 23;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
}

namespace ref {
namespace {

float element(KvType type, const std::byte* values, std::int64_t i) {
  switch (type) {
    case KvType::kF32:
      return reinterpret_cast<const float*>(values)[i];
    case KvType::kBf16:
      return to_float(reinterpret_cast<const Bf16*>(values)[i]);
    case KvType::kF16:
      return to_float(reinterpret_cast<const F16*>(values)[i]);
    case KvType::kE4M3:
      return to_float(reinterpret_cast<const E4M3*>(values)[i]);
    default:
      return static_cast<float>(reinterpret_cast<const std::int8_t*>(values)[i]);
  }
}

const std::byte* block_of(const AttentionArgs& a, std::int64_t token) {
  return a.head + a.blocks[token / kKvBlockTokens] * a.block_bytes;
}

/// Scale of a token's keys (which = 0) or values (1).
float scale_of(const AttentionArgs& a, std::int64_t token, int which) {
  if (!has_scales(a.layout.type)) return 1;
  const auto* scales = reinterpret_cast<const float*>(block_of(a, token) + a.layout.scale_offset());
  return scales[which * kKvBlockTokens + token % kKvBlockTokens];
}

float score_of(const AttentionArgs& a, const float* q, std::int64_t token) {
  float s = 0;
  for (std::int64_t c = 0; c < a.layout.head_dim; ++c) {
    const float k = element(a.layout.type, block_of(a, token), a.layout.key_element(token % kKvBlockTokens, c));
    s = std::fma(q[c], k, s);
  }
  return has_scales(a.layout.type) ? s * scale_of(a, token, 0) : s;
}

float sum_of_lanes(const float* p) {
  float lanes[16];
  for (int l = 0; l < 16; ++l) lanes[l] = ((p[l] + p[l + 16]) + p[l + 32]) + p[l + 48];
  for (int distance = 8; distance > 0; distance /= 2) {
    for (int l = 0; l < distance; ++l) lanes[l] += lanes[l + distance];
  }
  return lanes[0];
}

/// One step of one row: keys [a, b) of the step that begins at `begin`.
void step(const AttentionArgs& args, std::int64_t row, std::int64_t begin, std::int64_t a, std::int64_t b) {
  const std::int64_t dim = args.layout.padded_dim();
  const float* q = args.q + row * args.layout.head_dim;
  float* p = args.scores + row * kAttentionStep;
  float* out = args.out + row * dim;
  float m = args.largest[row];
  for (std::int64_t j = a; j < b; ++j) {
    p[j] = score_of(args, q, begin + j);
    m = std::max(m, p[j]);
  }
  const float f =
      args.largest[row] == -std::numeric_limits<float>::infinity() ? 0 : exp_nonpositive(args.largest[row] - m);
  for (std::int64_t j = 0; j < kAttentionStep; ++j) p[j] = j >= a && j < b ? exp_nonpositive(p[j] - m) : 0;
  args.sum[row] = std::fma(args.sum[row], f, sum_of_lanes(p));
  args.largest[row] = m;
  for (std::int64_t c = 0; c < dim; ++c) out[c] *= f;
  for (std::int64_t j = a; j < b; ++j) {
    const std::int64_t token = begin + j;
    const float weight = has_scales(args.layout.type) ? p[j] * scale_of(args, token, 1) : p[j];
    const std::byte* values = block_of(args, token) + args.layout.value_offset();
    for (std::int64_t c = 0; c < dim; ++c) {
      const std::int64_t at = args.layout.value_element(token % kKvBlockTokens, c);
      out[c] = std::fma(weight, element(args.layout.type, values, at), out[c]);
    }
  }
}

void run(const AttentionArgs& args) noexcept {
  for (std::int64_t row = 0; row < args.rows; ++row) {
    args.largest[row] = -std::numeric_limits<float>::infinity();
    args.sum[row] = 0;
    std::fill_n(args.out + row * args.layout.padded_dim(), args.layout.padded_dim(), 0.0F);
    for (std::int64_t begin = args.key_begin; begin < args.key_end; begin += kAttentionStep) {
      const std::int64_t a = std::max<std::int64_t>(0, args.first[row] - begin);
      const std::int64_t b = std::min({kAttentionStep, args.last[row] - begin, args.key_end - begin});
      if (a < b) step(args, row, begin, a, b);
    }
  }
}

}  // namespace

const AttentionKernel kAttention = {"attention_ref", 0, false, run};

}  // namespace ref

void store_kv(const KvLayout& layout, std::byte* head_of_block, std::int64_t token, const float* keys,
              const float* values) noexcept {
  const std::int64_t slot = token % kKvBlockTokens;
  const std::int64_t dim = layout.head_dim;
  std::byte* value_row = head_of_block + layout.value_offset();
  const auto store = [&](auto convert, auto* to_keys, auto* to_values) {
    for (std::int64_t c = 0; c < dim; ++c) to_keys[layout.key_element(slot, c)] = convert(keys[c]);
    for (std::int64_t c = 0; c < dim; ++c) to_values[layout.value_element(slot, c)] = convert(values[c]);
  };
  if (layout.type == KvType::kF32) {
    store([](float v) { return v; }, reinterpret_cast<float*>(head_of_block), reinterpret_cast<float*>(value_row));
  } else if (layout.type == KvType::kBf16) {
    store([](float v) { return to_bf16(v); }, reinterpret_cast<Bf16*>(head_of_block),
          reinterpret_cast<Bf16*>(value_row));
  } else if (layout.type == KvType::kF16) {
    static constexpr float kMost = 65504;
    store([](float v) { return to_f16(std::isnan(v) ? v : std::clamp(v, -kMost, kMost)); },
          reinterpret_cast<F16*>(head_of_block), reinterpret_cast<F16*>(value_row));
  } else if (layout.type == KvType::kE4M3) {
    auto* scales = reinterpret_cast<float*>(head_of_block + layout.scale_offset());
    const auto quantize = [&](const float* from, E4M3* to, std::int64_t stride) {
      float most = 0;
      // The comparison is written so that a NaN stays.
      for (std::int64_t c = 0; c < dim; ++c)
        most = std::fabs(from[c]) <= most || std::isnan(most) ? most : std::fabs(from[c]);
      const float scale = e4m3_row_scale(most);
      for (std::int64_t c = 0; c < dim; ++c) to[c * stride] = e4m3_code(from[c], scale);
      return scale;
    };
    scales[slot] = quantize(keys, reinterpret_cast<E4M3*>(head_of_block) + slot, kKvBlockTokens);
    scales[kKvBlockTokens + slot] =
        quantize(values, reinterpret_cast<E4M3*>(value_row) + slot * layout.padded_dim(), 1);
  } else {
    auto* scales = reinterpret_cast<float*>(head_of_block + layout.scale_offset());
    const auto quantize = [&](const float* from, std::int8_t* to, std::int64_t stride, float& scale) {
      float most = 0;
      for (std::int64_t c = 0; c < dim; ++c) most = std::max(most, std::fabs(from[c]));
      scale = most / 127;
      const float inverse = most > 0 ? 127 / most : 0;
      // A NaN or an infinity has to show in the result: its scale carries it.
      if (!std::isfinite(inverse)) scale = std::numeric_limits<float>::quiet_NaN();
      for (std::int64_t c = 0; c < dim; ++c) {
        const float code = std::isfinite(from[c] * inverse) ? std::nearbyint(from[c] * inverse) : 0;
        if (!std::isfinite(from[c])) scale = std::numeric_limits<float>::quiet_NaN();
        to[c * stride] = static_cast<std::int8_t>(std::clamp(code, -127.0F, 127.0F));
      }
    };
    quantize(keys, reinterpret_cast<std::int8_t*>(head_of_block) + slot, kKvBlockTokens, scales[slot]);
    quantize(values, reinterpret_cast<std::int8_t*>(value_row) + slot * layout.padded_dim(), 1,
             scales[kKvBlockTokens + slot]);
  }
}

}  // namespace awq::kernels
