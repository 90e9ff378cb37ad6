#pragma once

#include "token_texts.cuh"

/// Attention over caches of all types, as an engine steps through texts.
namespace check {

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

/// A key that is not a number shows in every row that sees it, and in no other.
inline void check_nan(const Shape& shape) {
  constexpr int kLength = 70;
  constexpr int kBad = 20;
  Random random(11);
  Texts texts(shape, {kLength}, random);
  const std::size_t angles = static_cast<std::size_t>(kLength) * shape.head_dim / 2;
  const DeviceArray<float> cosines(std::vector<float>(angles, 1.0F));
  const DeviceArray<float> sines(std::vector<float>(angles, 0.0F));
  const Rope rope = {cosines.data(), sines.data()};
  const Results clean = run_texts(texts, cut_whole, false, rope, 1);
  texts.qkv[0][kBad * texts.row() + static_cast<std::size_t>(shape.num_heads) * shape.head_dim + 3] =
      to_half(shape.type, NAN);
  for (const Cut cut : {cut_whole, cut_decode}) {
    const Results results = run_texts(texts, cut, false, rope, 1);
    bool good = true;
    for (std::size_t i = 0; i < results[0].size(); ++i) {
      const bool sees = i / texts.out_row() >= kBad;
      good &= sees ? std::isnan(from_half(shape.type, results[0][i])) : results[0][i] == clean[0][i];
    }
    report("attention " + label(shape) + (cut == cut_whole ? "" : " decoded") + " shows a NaN", good);
  }
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
      for (const int dim : {64, 80, 128}) check_nan({type, 2, 1, dim, 0, cache});
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

}  // namespace check
