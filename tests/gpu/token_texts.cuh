#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/cuda/kv_layout.cuh"
#include "kernels/kv_scale.h"
#include "token_check_support.cuh"

/// What the checks of rotation and attention work on: shapes, texts of queries, keys and values, and caches of them.
namespace check {

namespace cuda = awq::kernels::cuda;

/// Steps through some sequences as an engine does: every step is a batch of new tokens of some of them.
struct Shape {
  Half type;
  int num_heads;
  int num_kv_heads;
  int head_dim;
  int window;
  cuda::CacheType cache = cuda::CacheType::kHalf;

  bool has_codes() const { return cache != cuda::CacheType::kHalf; }
};

inline std::string label(const Shape& s) {
  return std::string(name(s.type)) +
         (s.cache == cuda::CacheType::kE4M3   ? " fp8"
          : s.cache == cuda::CacheType::kInt8 ? " int8"
                                              : "") +
         " heads " + std::to_string(s.num_heads) + "/" + std::to_string(s.num_kv_heads) + " x " +
         std::to_string(s.head_dim) + " window " + std::to_string(s.window);
}

/// The cache and the block tables of some sequences; blocks lie in it in no order.
class Cache {
 public:
  Cache(const Shape& shape, const std::vector<int>& lengths, Random& random)
      : shape_(shape),
        stride_(*std::max_element(lengths.begin(), lengths.end()) / 16 + 3),
        table_(lengths.size() * stride_, -1),
        data_(count_blocks(lengths) * shape.num_kv_heads * cuda::kv_head_bytes(shape.cache, shape.head_dim)) {
    std::vector<std::int32_t> free(count_blocks(lengths));
    std::iota(free.begin(), free.end(), 0);
    for (std::size_t i = free.size(); i > 1; --i) std::swap(free[i - 1], free[random.below(static_cast<int>(i))]);
    std::size_t next = 0;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (int b = 0; b * 16 < lengths[s]; ++b) table_[s * stride_ + b] = free[next++];
    }
  }
  static std::size_t count_blocks(const std::vector<int>& lengths) {
    std::size_t blocks = 3;
    for (const int length : lengths) blocks += (length + 15) / 16;
    return blocks;
  }
  cuda::KvBlocks blocks() const { return {data_.data(), shape_.num_kv_heads, shape_.head_dim, shape_.cache}; }
  int stride() const { return static_cast<int>(stride_); }
  const std::vector<std::int32_t>& table() const { return table_; }
  const DeviceArray<std::uint8_t>& data() const { return data_; }

 private:
  Shape shape_;
  std::size_t stride_;
  std::vector<std::int32_t> table_;
  DeviceArray<std::uint8_t> data_;
};

/// One sequence's part of a step.
struct Slice {
  int sequence;
  int past;
  int queries;
};

/// Inputs and results of all positions of some sequences.
struct Texts {
  Shape shape;
  std::vector<int> lengths;
  std::vector<std::vector<std::uint16_t>> qkv;  ///< [length, heads + 2 kv heads, head_dim]

  std::size_t row() const {
    return static_cast<std::size_t>(shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim;
  }
  std::size_t out_row() const { return static_cast<std::size_t>(shape.num_heads) * shape.head_dim; }

  Texts(const Shape& s, const std::vector<int>& l, Random& random) : shape(s), lengths(l) {
    for (const int length : l) qkv.push_back(random_halves(s.type, length * row(), random));
  }
};

/// The numbers of a row as a cache of codes gives them back: halves.
class RowCodes {
 public:
  RowCodes(const Shape& shape, float most) : shape_(shape) {
    if (shape.cache == cuda::CacheType::kE4M3) {
      scale_ = awq::kernels::e4m3_row_scale(most);
      return;
    }
    // The smallest half that 127 times of hold the row.
    std::uint16_t bits = to_half(shape.type, most / 127);
    while (from_half(shape.type, bits) * 127 < most) ++bits;
    scale_ = from_half(shape.type, bits);
  }
  float scale() const { return scale_; }
  float rounded(float x) const {
    if (shape_.cache == cuda::CacheType::kE4M3) return awq::to_float(awq::kernels::e4m3_code(x, scale_)) * scale_;
    return from_half(shape_.type, to_half(shape_.type, std::nearbyint(x / scale_) * scale_));
  }
  /// Half a step at a number of this size.
  double allowed(double x) const {
    if (shape_.cache == cuda::CacheType::kE4M3) return 0x1p-4 * std::fabs(x) + 0x1p-10 * scale_;
    return 0.5001 * scale_ + rounding(shape_.type) * std::fabs(x);
  }

 private:
  Shape shape_;
  float scale_;
};

/// The same texts with keys and values as a cache of codes gives them back.
inline Texts rounded(Texts texts) {
  const Shape& shape = texts.shape;
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const std::size_t heads = static_cast<std::size_t>(shape.num_heads) + 2 * shape.num_kv_heads;
  for (auto& qkv : texts.qkv) {
    for (std::size_t head = 0; head < qkv.size() / dim; ++head) {
      if (head % heads < static_cast<std::size_t>(shape.num_heads)) continue;
      std::uint16_t* row = qkv.data() + head * dim;
      float most = 0;
      for (std::size_t i = 0; i < dim; ++i) most = std::max(most, std::fabs(from_half(shape.type, row[i])));
      const RowCodes codes(shape, most);
      for (std::size_t i = 0; i < dim; ++i) row[i] = to_half(shape.type, codes.rounded(from_half(shape.type, row[i])));
    }
  }
  texts.shape.cache = cuda::CacheType::kHalf;
  return texts;
}

}  // namespace check
