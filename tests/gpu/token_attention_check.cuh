#pragma once

#include <cstring>
#include <numeric>

#include "kernels/cuda/kv_layout.cuh"
#include "kernels/kv_scale.h"
#include "token_check_support.cuh"

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

using Results = std::vector<std::vector<std::uint16_t>>;

struct Rope {
  const float* cosines;
  const float* sines;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  bool fused = false;  ///< rotate_and_attend()
};

/// Rounded up at random, as graphs do; the kernels may take it as a bound only.
inline void run_step(const Texts& texts, const Cache& cache, const std::vector<Slice>& slices, const Rope& rope,
                     Random& random, Results& results) {
  const Shape& shape = texts.shape;
  std::vector<std::int32_t> begin = {0};
  std::vector<std::int32_t> past;
  std::vector<std::int32_t> owner;
  std::vector<std::int32_t> tables;
  std::vector<std::uint16_t> rows;
  cuda::SequenceBatch batch;
  for (const Slice& slice : slices) {
    const auto& from = texts.qkv[slice.sequence];
    rows.insert(rows.end(), from.begin() + static_cast<std::ptrdiff_t>(slice.past * texts.row()),
                from.begin() + static_cast<std::ptrdiff_t>((slice.past + slice.queries) * texts.row()));
    owner.insert(owner.end(), slice.queries, static_cast<std::int32_t>(past.size()));
    past.push_back(slice.past);
    begin.push_back(begin.back() + slice.queries);
    const auto table = cache.table().begin() + static_cast<std::ptrdiff_t>(slice.sequence) * cache.stride();
    tables.insert(tables.end(), table, table + cache.stride());
    // Blocks that no new token sees any more are given back.
    for (int b = 0; shape.window > 0 && b * 16 + 16 <= slice.past + 1 - shape.window; ++b) {
      tables[tables.size() - cache.stride() + b] = -1;
    }
    batch.max_queries = std::max(batch.max_queries, slice.queries);
    batch.max_length = std::max(batch.max_length, slice.past + slice.queries);
  }
  batch.max_length += random.below(3) * 300;
  batch.sequences = static_cast<std::int32_t>(slices.size());
  batch.tokens = begin.back();
  batch.block_stride = cache.stride();
  const DeviceArray<std::int32_t> device_begin(begin);
  const DeviceArray<std::int32_t> device_past(past);
  const DeviceArray<std::int32_t> device_owner(owner);
  const DeviceArray<std::int32_t> device_tables(tables);
  const DeviceArray<std::uint16_t> qkv(rows);
  const DeviceArray<std::uint16_t> out(batch.tokens * texts.out_row());
  batch.query_begin = device_begin.data();
  batch.past = device_past.data();
  batch.token_sequence = device_owner.data();
  batch.blocks = device_tables.data();
  const DeviceArray<unsigned char> workspace(cuda::attention_workspace_bytes(
      shape.num_heads, shape.head_dim, batch.sequences, batch.tokens, batch.max_length));
  const cuda::Rotation rotation = {rope.cosines, rope.sines, rope.q_norm, rope.k_norm, 1e-6F};
  cuda::AttentionProblem problem;
  problem.type = shape.type;
  problem.num_heads = shape.num_heads;
  problem.scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  problem.window = shape.window;
  problem.q = qkv.data();
  problem.q_stride = static_cast<std::int64_t>(texts.row());
  problem.out = out.data();
  if (rope.fused) {
    require(cuda::rotate_and_attend(problem, rotation, batch, cache.blocks(), workspace.data(), nullptr),
            "rotate_and_attend");
  } else {
    require(cuda::rope_and_store(shape.type, qkv.data(), shape.num_heads, batch, rotation, cache.blocks(), nullptr),
            "rope_and_store");
    require(cuda::attention(problem, batch, cache.blocks(), workspace.data(), nullptr), "attention");
  }
  const auto got = out.download();
  for (std::size_t i = 0; i < slices.size(); ++i) {
    std::copy_n(got.begin() + static_cast<std::ptrdiff_t>(begin[i] * texts.out_row()),
                slices[i].queries * texts.out_row(),
                results[slices[i].sequence].begin() + static_cast<std::ptrdiff_t>(slices[i].past * texts.out_row()));
  }
}

/// How many tokens of a sequence come in the next step.
using Cut = int (*)(int length, int past, Random& random);

inline int cut_whole(int length, int past, Random&) { return length - past; }
inline int cut_chunks(int length, int past, Random& random) { return std::min(length - past, 1 + random.below(300)); }
/// Single tokens at the end, and groups of guesses before.
inline int cut_decode(int length, int past, Random& random) {
  const int left = length - past;
  if (left > 60) return left - 60;
  return left > 24 ? std::min(left - 24, 2 + random.below(12)) : 1;
}

/// All positions of all sequences: one after the other, or side by side in shared steps.
inline Results run_texts(const Texts& texts, Cut cut, bool together, const Rope& rope, std::uint64_t seed) {
  Random random(seed);
  Results results;
  for (const int length : texts.lengths) results.emplace_back(length * texts.out_row(), 0xffff);
  const Cache cache(texts.shape, texts.lengths, random);
  std::vector<int> past(texts.lengths.size(), 0);
  while (true) {
    std::vector<Slice> slices;
    for (std::size_t s = 0; s < past.size() && (together || slices.empty()); ++s) {
      if (past[s] == texts.lengths[s]) continue;
      const int queries = cut(texts.lengths[s], past[s], random);
      slices.push_back({static_cast<int>(s), past[s], queries});
      past[s] += queries;
    }
    if (slices.empty()) return results;
    run_step(texts, cache, slices, rope, random, results);
  }
}

inline void expect_same(const std::string& what, const Texts& texts, const Results& a, const Results& b) {
  std::size_t different = 0;
  std::string where;
  for (std::size_t s = 0; s < a.size(); ++s) {
    for (std::size_t i = 0; i < a[s].size(); ++i) {
      if (a[s][i] == b[s][i]) continue;
      if (different++ == 0) {
        where = ", first: sequence " + std::to_string(s) + " position " + std::to_string(i / texts.out_row()) +
                " element " + std::to_string(i % texts.out_row()) + " got " +
                std::to_string(from_half(texts.shape.type, a[s][i])) + " and " +
                std::to_string(from_half(texts.shape.type, b[s][i]));
      }
    }
  }
  report(what, different == 0, different == 0 ? "" : std::to_string(different) + " elements differ" + where);
}

/// Some rows against binary64. A weight is rounded to a half once (relative `rounding`, in f16 also 2^-25 of the
/// largest weight of a unit), the result once more; scores in binary32 and exp2() add 2^-14 of the values' mean.
inline void check_rows(const Texts& texts, const Results& results, Random& random) {
  const Shape& shape = texts.shape;
  const int dim = shape.head_dim;
  const int group = shape.num_heads / shape.num_kv_heads;
  Errors errors;
  const auto value_at = [&](const std::vector<float>& wide, int position, int head, int i) {
    return static_cast<double>(wide[position * texts.row() + static_cast<std::size_t>(head) * dim + i]);
  };
  for (std::size_t s = 0; s < texts.lengths.size(); ++s) {
    std::vector<float> wide(texts.qkv[s].size());
    for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = from_half(shape.type, texts.qkv[s][i]);
    for (int sample = 0; sample < 12; ++sample) {
      const int position = sample == 0 ? texts.lengths[s] - 1 : random.below(texts.lengths[s]);
      const int head = random.below(shape.num_heads);
      const int first = shape.window > 0 ? std::max(0, position + 1 - shape.window) : 0;
      std::vector<double> scores;
      double most = -1e300;
      for (int key = first; key <= position; ++key) {
        double dot = 0;
        for (int i = 0; i < dim; ++i) {
          dot += value_at(wide, position, head, i) * value_at(wide, key, shape.num_heads + head / group, i);
        }
        scores.push_back(dot / std::sqrt(static_cast<double>(dim)));
        most = std::max(most, scores.back());
      }
      double sum = 0;
      for (double& score : scores) sum += score = std::exp(score - most);
      for (int i = 0; i < dim; ++i) {
        double expected = 0;
        double size = 0;
        double plain_size = 0;
        for (std::size_t j = 0; j < scores.size(); ++j) {
          const double v =
              value_at(wide, first + static_cast<int>(j), shape.num_heads + shape.num_kv_heads + head / group, i);
          expected += scores[j] * v / sum;
          size += scores[j] * std::fabs(v) / sum;
          plain_size += std::fabs(v) / sum;
        }
        const double allowed = (rounding(shape.type) + 0x1p-14) * size + rounding(shape.type) * std::fabs(expected) +
                               smallest(shape.type) * (1 + plain_size);
        errors.add(
            from_half(shape.type, results[s][position * texts.out_row() + static_cast<std::size_t>(head) * dim + i]),
            expected, allowed);
      }
    }
  }
  errors.report("attention " + label(shape));
}

inline void check_shape(const Shape& shape, const std::vector<int>& lengths, bool chunks) {
  Random random(static_cast<std::uint64_t>(shape.num_heads) * 131 + shape.head_dim + shape.window);
  const Texts texts(shape, lengths, random);
  const int longest = *std::max_element(lengths.begin(), lengths.end());
  const std::size_t angles = static_cast<std::size_t>(longest) * shape.head_dim / 2;
  const DeviceArray<float> cosines(std::vector<float>(angles, 1.0F));
  const DeviceArray<float> sines(std::vector<float>(angles, 0.0F));
  const Rope rope = {cosines.data(), sines.data()};
  const Results whole = run_texts(texts, cut_whole, false, rope, 1);
  if (shape.has_codes()) {
    const Texts halves = rounded(texts);
    check_rows(halves, whole, random);
    expect_same("attention " + label(shape) + " like halves of the same numbers", texts, whole,
                run_texts(halves, cut_whole, false, rope, 1));
  } else {
    check_rows(texts, whole, random);
  }
  expect_same("attention " + label(shape) + " in a batch", texts, run_texts(texts, cut_whole, true, rope, 2), whole);
  if (chunks) {
    expect_same("attention " + label(shape) + " in chunks", texts, run_texts(texts, cut_chunks, true, rope, 3), whole);
  }
  expect_same("attention " + label(shape) + " decoded", texts, run_texts(texts, cut_decode, true, rope, 4), whole);
  expect_same("attention " + label(shape) + " decoded alone", texts, run_texts(texts, cut_decode, false, rope, 5),
              whole);
  Rope fused = rope;
  fused.fused = true;
  expect_same("attention " + label(shape) + " decoded in one launch a step", texts,
              run_texts(texts, cut_decode, true, fused, 6), whole);
  expect_same("attention " + label(shape) + " decoded alone in one launch a step", texts,
              run_texts(texts, cut_decode, false, fused, 7), whole);
}

inline void check_attention() {
  const std::vector<int> some = {700, 63, 1, 257, 1030};
  const std::vector<int> few = {130, 17, 300};
  for (const Half type : {Half::kBf16, Half::kF16}) {
    for (const cuda::CacheType cache : {cuda::CacheType::kHalf, cuda::CacheType::kE4M3, cuda::CacheType::kInt8}) {
      check_shape({type, 32, 8, 128, 0, cache}, some, true);
      check_shape({type, 8, 8, 64, 0, cache}, some, true);
      check_shape({type, 28, 4, 128, 0, cache}, few, true);
      check_shape({type, 8, 2, 128, 200, cache}, some, true);
      check_shape({type, 4, 1, 64, 1, cache}, few, true);
      check_shape({type, 12, 4, 64, 77, cache}, some, true);
      check_shape({type, 32, 1, 128, 0, cache}, few, true);
      check_shape({type, 4, 2, 16, 0, cache}, few, true);
      check_shape({type, 6, 3, 96, 50, cache}, few, true);
    }
  }
  check_shape({Half::kBf16, 3, 3, 80, 0}, few, false);
  check_shape({Half::kBf16, 2, 1, 8, 0}, few, false);
  check_shape({Half::kF16, 5, 1, 48, 33}, few, false);
  check_shape({Half::kF16, 2, 2, 32, 0}, few, false);
  check_shape({Half::kBf16, 2, 1, 256, 0}, few, false);
  check_shape({Half::kBf16, 2, 1, 256, 0, cuda::CacheType::kE4M3}, few, false);
  check_shape({Half::kBf16, 4, 2, 128, 0}, {8200, 40}, true);
  check_shape({Half::kBf16, 4, 2, 128, 0, cuda::CacheType::kE4M3}, {8200, 40}, true);
}

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
