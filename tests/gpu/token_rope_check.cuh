#pragma once

#include "token_texts.cuh"

/// Rotation, and what it puts into a cache.
namespace check {

/// The keys or values of a token in a copy of the cache; `page` are its block and head.
class StoredRow {
 public:
  StoredRow(const Shape& shape, const unsigned char* page, bool is_value, int slot)
      : shape_(shape), side_(page), slot_(slot) {
    if (page == nullptr) return;
    side_ += is_value ? cuda::kv_side_bytes(shape.cache, shape.head_dim) : 0;
    if (!shape.has_codes()) return;
    std::uint16_t bits = 0;
    std::memcpy(&bits, page + cuda::kv_scale_offset(shape.head_dim, is_value, slot), sizeof(bits));
    scale_ = from_half(shape.type, bits);
  }
  float scale() const { return scale_; }
  float at(int i) const {
    if (shape_.has_codes()) {
      const std::uint8_t code = side_[cuda::kv_code(shape_.head_dim, slot_, i)];
      const float number = shape_.cache == cuda::CacheType::kE4M3 ? awq::to_float(awq::E4M3{code})
                                                                  : static_cast<float>(static_cast<std::int8_t>(code));
      return from_half(shape_.type, to_half(shape_.type, number * scale_));
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, side_ + 2 * cuda::kv_element(shape_.head_dim, slot_, i), sizeof(bits));
    return from_half(shape_.type, bits);
  }

 private:
  const Shape& shape_;
  const unsigned char* side_;
  int slot_;
  float scale_ = 1;
};

/// Rotation, norms of heads, and where keys and values end up.
inline void check_rope_shape(const Shape& shape, bool norms) {
  Random random(shape.head_dim + norms);
  const std::vector<int> lengths = {37, 5, 90};
  const Texts texts(shape, lengths, random);
  const int dim = shape.head_dim;
  const int half = dim / 2;
  std::vector<float> cosines;
  std::vector<float> sines;
  for (int p = 0; p < 90; ++p) {
    for (int j = 0; j < half; ++j) {
      cosines.push_back(static_cast<float>(std::cos(p * std::pow(1e4, -2.0 * j / dim))));
      sines.push_back(static_cast<float>(std::sin(p * std::pow(1e4, -2.0 * j / dim))));
    }
  }
  const auto q_norm = random_floats(dim, random, 1, 0.3F);
  const auto k_norm = random_floats(dim, random, 1, 0.3F);
  const DeviceArray<float> device_cosines(cosines);
  const DeviceArray<float> device_sines(sines);
  const DeviceArray<float> device_q_norm(q_norm);
  const DeviceArray<float> device_k_norm(k_norm);
  const Cache cache(shape, lengths, random);
  const DeviceArray<std::int32_t> tables(cache.table());

  // The sequences have 30, 0 and 77 tokens already.
  const std::vector<std::int32_t> past = {30, 0, 77};
  const std::vector<std::int32_t> begin = {0, 7, 12, 25};
  std::vector<std::int32_t> owner;
  std::vector<std::uint16_t> rows;
  for (int s = 0; s < 3; ++s) {
    owner.insert(owner.end(), lengths[s] - past[s], s);
    rows.insert(rows.end(), texts.qkv[s].begin() + static_cast<std::ptrdiff_t>(past[s] * texts.row()),
                texts.qkv[s].end());
  }
  const DeviceArray<std::int32_t> device_past(past);
  const DeviceArray<std::int32_t> device_begin(begin);
  const DeviceArray<std::int32_t> device_owner(owner);
  const DeviceArray<std::uint16_t> qkv(rows);
  cuda::SequenceBatch batch;
  batch.sequences = 3;
  batch.tokens = 25;
  batch.max_queries = 13;
  batch.max_length = 90;
  batch.query_begin = device_begin.data();
  batch.past = device_past.data();
  batch.blocks = tables.data();
  batch.block_stride = cache.stride();
  batch.token_sequence = device_owner.data();
  const float eps = 1e-6F;
  require(cuda::rope_and_store(shape.type, qkv.data(), shape.num_heads, batch,
                               {device_cosines.data(), device_sines.data(), norms ? device_q_norm.data() : nullptr,
                                norms ? device_k_norm.data() : nullptr, eps},
                               cache.blocks(), nullptr),
          "rope_and_store");
  const auto got = qkv.download();
  const auto stored = cache.data().download();
  Errors errors;
  bool same_values = true;
  bool good_scales = true;
  for (int t = 0; t < 25; ++t) {
    const int s = owner[t];
    const int position = past[s] + t - begin[s];
    for (int head = 0; head < shape.num_heads + 2 * shape.num_kv_heads; ++head) {
      const std::size_t at = t * texts.row() + static_cast<std::size_t>(head) * dim;
      const bool is_query = head < shape.num_heads;
      const int kv = (head - shape.num_heads) % shape.num_kv_heads;
      const bool is_value = head >= shape.num_heads + shape.num_kv_heads;
      std::vector<double> v(dim);
      double squares = 0;
      for (int i = 0; i < dim; ++i) squares += std::pow(v[i] = from_half(shape.type, rows[at + i]), 2);
      for (int i = 0; norms && !is_value && i < dim; ++i) {
        v[i] *= (is_query ? q_norm : k_norm)[i] / std::sqrt(squares / dim + eps);
      }
      const unsigned char* page =
          is_query ? nullptr
                   : stored.data() + cuda::kv_page(shape.cache, cache.table()[s * cache.stride() + position / 16],
                                                   shape.num_kv_heads, kv, dim);
      const StoredRow row(shape, page, is_value, position % 16);
      const auto expected_at = [&](int i) {
        if (is_value) return v[i];
        const int j = i % half;
        const double cosine = cosines[position * half + j];
        const double sine = sines[position * half + j];
        return v[i] * cosine + (i < half ? -v[j + half] * sine : v[j] * sine);
      };
      double most = 0;
      for (int i = 0; i < dim; ++i) most = std::max(most, std::fabs(expected_at(i)));
      const RowCodes codes(shape, static_cast<float>(most));
      // A largest number on the edge between two scales may take either: its rotation is rounded.
      if (!is_query && shape.has_codes()) {
        good_scales &= row.scale() == codes.scale() ||
                       row.scale() == RowCodes(shape, static_cast<float>(most * (1 + 0x1p-18))).scale() ||
                       row.scale() == RowCodes(shape, static_cast<float>(most * (1 - 0x1p-18))).scale();
      }
      for (int i = 0; i < dim; ++i) {
        if (is_value) {
          const float x = from_half(shape.type, rows[at + i]);
          same_values &= row.at(i) == (shape.has_codes() ? codes.rounded(x) : x);
          continue;
        }
        const int j = i % half;
        const double cosine = cosines[position * half + j];
        const double sine = sines[position * half + j];
        const double turned = i < half ? -v[j + half] * sine : v[j] * sine;
        const double expected = v[i] * cosine + turned;
        // The two products may cancel: their roundings in binary32 stay. A code is off by half a step more.
        double allowed = rounding(shape.type) * std::fabs(expected) +
                         0x1p-20 * (std::fabs(v[i] * cosine) + std::fabs(turned)) + smallest(shape.type);
        if (!is_query && shape.has_codes()) allowed += codes.allowed(expected);
        errors.add(is_query ? from_half(shape.type, got[at + i]) : row.at(i), expected, allowed);
      }
    }
  }
  const std::string what = "rope_and_store " + label(shape) + (norms ? " with norms" : "");
  errors.report(what);
  report(what + " values", same_values);
  if (shape.has_codes()) report(what + " scales", good_scales);
}

inline void check_rope(Half type) {
  for (const cuda::CacheType cache : {cuda::CacheType::kHalf, cuda::CacheType::kE4M3, cuda::CacheType::kInt8}) {
    for (const int dim : {6, 8, 16, 48, 64, 80, 96, 128, 256}) {
      check_rope_shape({type, 6, 3, dim, 0, cache}, false);
      check_rope_shape({type, 5, 1, dim, 0, cache}, true);
    }
  }
}

}  // namespace check
