// Attention over cached keys and values: one query of each head of a group, as a decode step has, over sequences that
// no cache holds; and all queries of a prompt, tile by tile, as a prefill has.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/cpu_features.h"
#include "kernel_bench.h"
#include "kernels/api/attention.h"
#include "kernels/packed_test_support.h"
#include "kernels/ref/attention_ref.h"
#include "tolerances.h"

namespace awq::kernels {
namespace {

constexpr std::int64_t kKeys = 2048;
constexpr std::int64_t kBlocks = kKeys / kKvBlockTokens;

struct Shape {
  const char* name;
  std::int64_t head_dim;
  std::int64_t group;  ///< query heads of one KV head
};
constexpr Shape kShapes[] = {{"tinyllama-1.1b", 64, 8}, {"llama-3-8b", 128, 4}};

/// Keys and values of one KV head in `copies` equal sequences of kKeys tokens, blocks in no order.
struct Cache {
  KvLayout layout;
  std::int64_t copies;
  AlignedBuffer<std::byte> memory;
  std::vector<std::int32_t> blocks;

  Cache(KvType type, std::int64_t head_dim, std::int64_t count) : layout{type, head_dim}, copies(count) {
    const std::int64_t bytes = sequence_bytes();
    AlignedBuffer<std::byte> one(static_cast<std::size_t>(bytes));
    for (std::int64_t b = 0; b < kBlocks; ++b) blocks.push_back(static_cast<std::int32_t>(b * 37 % kBlocks));
    for (std::int64_t t = 0; t < kKeys; ++t) {
      const std::vector<float> keys = test::random_inputs(1, head_dim, static_cast<std::uint64_t>(2 * t));
      const std::vector<float> values = test::random_inputs(1, head_dim, static_cast<std::uint64_t>(2 * t + 1));
      store_kv(layout, one.data() + blocks[static_cast<std::size_t>(t / kKvBlockTokens)] * layout.head_bytes(), t,
               keys.data(), values.data());
    }
    memory = AlignedBuffer<std::byte>(static_cast<std::size_t>(copies * bytes));
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < copies; ++i) {
      std::memcpy(memory.data() + i * bytes, one.data(), static_cast<std::size_t>(bytes));
    }
  }
  std::int64_t sequence_bytes() const { return kBlocks * layout.head_bytes(); }
};

/// What a call reads and writes beside the cache, of one thread.
struct Rows {
  std::vector<float> q, largest, sum, out, scores;
  std::vector<std::uint16_t> pairs;
  std::vector<std::int64_t> first, last;

  Rows(const Shape& shape, std::int64_t rows, std::int64_t first_query) {
    const KvLayout layout{KvType::kF32, shape.head_dim};
    const auto count = static_cast<std::size_t>(rows);
    q = test::random_inputs(rows, shape.head_dim, 5);
    for (float& value : q) value /= 256;  // both have channels of 40: scores of some units
    largest.resize(count);
    sum.resize(count);
    out.resize(count * static_cast<std::size_t>(layout.padded_dim()));
    scores.resize(count * kAttentionStep);
    pairs.resize(static_cast<std::size_t>(attention_pairs(layout)));
    first.resize(count);
    for (std::int64_t r = 0; r < rows; ++r) last.push_back(first_query + r / shape.group + 1);
  }
  void move_to(std::int64_t first_query, std::int64_t group) {
    for (std::size_t r = 0; r < last.size(); ++r) last[r] = first_query + static_cast<std::int64_t>(r) / group + 1;
  }
  AttentionArgs args(const Cache& cache, std::int64_t copy) {
    return {.layout = cache.layout,
            .head = cache.memory.data() + copy * cache.sequence_bytes(),
            .block_bytes = cache.layout.head_bytes(),
            .blocks = cache.blocks.data(),
            .rows = static_cast<std::int64_t>(last.size()),
            .q = q.data(),
            .first = first.data(),
            .last = last.data(),
            .key_end = last.back(),
            .largest = largest.data(),
            .sum = sum.data(),
            .out = out.data(),
            .scores = scores.data(),
            .pairs = pairs.data()};
  }
};

/// Rows that round to bf16 are off by some 2^-9 of their inputs; the others give the reference's bits.
bool agree(const AttentionKernel& kernel, const Rows& got, const Rows& expected) {
  if (!kernel.rounds_to_bf16) {
    return got.largest == expected.largest && got.sum == expected.sum && got.out == expected.out;
  }
  const std::size_t dim = got.out.size() / got.sum.size();
  for (std::size_t i = 0; i < got.out.size(); ++i) {
    const float is = got.out[i] / got.sum[i / dim], should = expected.out[i] / expected.sum[i / dim];
    if (!(std::fabs(is - should) <= tolerance::kAttentionRounded * std::max(1.0F, std::fabs(should)))) return false;
  }
  return true;
}

void check(const AttentionKernel& kernel, const Cache& cache, const Shape& shape, std::int64_t rows) {
  for (const std::int64_t query : {std::int64_t{0}, kKeys - rows / shape.group}) {
    Rows got(shape, rows, query), expected(shape, rows, query);
    kernel.run(got.args(cache, cache.copies - 1));
    ref::kAttention.run(expected.args(cache, 0));
    if (agree(kernel, got, expected)) continue;
    std::fprintf(stderr, "%s differs from the reference\n", kernel.name);
    std::exit(1);
  }
}

void time_decode(benchmark::State& state, const AttentionKernel& kernel, KvType type, const Shape& shape) {
  const KvLayout layout{type, shape.head_dim};
  const Cache cache(type, shape.head_dim, kColdBytes / (kBlocks * layout.head_bytes()));
  check(kernel, cache, shape, shape.group);
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
#pragma omp parallel
    {
      Rows rows(shape, shape.group, kKeys - 1);
#pragma omp for schedule(static)
      for (std::int64_t i = 0; i < cache.copies; ++i) kernel.run(rows.args(cache, i));
    }
    seconds = std::min(seconds, bench_now() - start);
  }
  const double rate = static_cast<double>(cache.copies * cache.sequence_bytes()) / seconds;
  state.counters["GB/s"] = rate / 1e9;
  if (reader_rate() > 0) state.counters["share"] = rate / reader_rate();
}

void time_prefill(benchmark::State& state, const AttentionKernel& kernel, KvType type, const Shape& shape) {
  const Cache cache(type, shape.head_dim, 1);
  check(kernel, cache, shape, kMaxAttentionRows);
  const std::int64_t queries = kMaxAttentionRows / shape.group;  // of a tile
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
#pragma omp parallel
    {
      Rows rows(shape, kMaxAttentionRows, 0);
#pragma omp for schedule(dynamic)
      for (std::int64_t tile = kKeys / queries - 1; tile >= 0; --tile) {
        rows.move_to(tile * queries, shape.group);
        kernel.run(rows.args(cache, 0));
      }
    }
    seconds = std::min(seconds, bench_now() - start);
  }
  // Two products of head_dim multiplications and additions for every key that a query sees.
  const double seen = 0.5 * static_cast<double>(kKeys * (kKeys + 1) * shape.group);
  const double rate = 4.0 * seen * static_cast<double>(shape.head_dim) / seconds;
  state.counters["GFLOP/s"] = rate / 1e9;
  if (onednn_rate() > 0) state.counters["of_onednn"] = rate / onednn_rate();
}

}  // namespace

void add_attention_rows() {
  constexpr std::pair<KvType, const char*> kTypes[] = {
      {KvType::kF32, "f32"}, {KvType::kBf16, "bf16"}, {KvType::kF16, "f16"}, {KvType::kInt8, "int8"}};
  for (const AttentionKernel* row = attention_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->min_isa == 0 || row->min_isa > static_cast<std::uint8_t>(active_isa()) ||
        (row->rounds_to_bf16 && !has_native_bf16())) {
      continue;
    }
    for (const Shape& shape : kShapes) {
      for (const auto& [type, type_name] : kTypes) {
        const std::string where = std::string("/") + type_name + "/" + shape.name;
        benchmark::RegisterBenchmark(
            (row->name + ("/decode" + where)).c_str(),
            [row, type = type, &shape](benchmark::State& state) { time_decode(state, *row, type, shape); })
            ->Iterations(4)
            ->Unit(benchmark::kMillisecond);
        benchmark::RegisterBenchmark(
            (row->name + ("/prefill" + where)).c_str(),
            [row, type = type, &shape](benchmark::State& state) { time_prefill(state, *row, type, shape); })
            ->Iterations(8)
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace awq::kernels
