// What layer gpu does on the host: buckets, the plan of the cache, the words of a batch, fused weights.

#include <gtest/gtest.h>

#include <numeric>

#include "awq/error.h"
#include "device/device.h"
#include "gpu/batch.h"
#include "gpu/buckets.h"
#include "gpu/kv_plan.h"
#include "gpu/linear.h"
#include "gpu/model.h"
#include "tensor/convert.h"

namespace awq::gpu {
namespace {

ErrorCode code_of(const auto& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(Buckets, HoldWhatTheyAreAskedFor) {
  EXPECT_EQ(sequence_bucket(1), 1);
  EXPECT_EQ(sequence_bucket(3), 4);
  EXPECT_EQ(sequence_bucket(129), 192);
  EXPECT_EQ(sequence_bucket(256), 256);
  EXPECT_EQ(sequence_bucket(257), 0);
  for (std::int64_t n = 1; n <= 256; ++n) EXPECT_GE(sequence_bucket(n), n);
  EXPECT_EQ(length_bucket(1), 256);
  EXPECT_EQ(length_bucket(256), 256);
  EXPECT_EQ(length_bucket(257), 512);
}

TEST(KvPlan, LeavesWhatTheUtilizationSays) {
  KvPlan plan{.block_bytes = 1000,
              .total_bytes = 100'000,
              .free_bytes = 60'000,
              .memory_utilization = 0.9,
              .max_model_len = 160,
              .max_num_seqs = 2};
  // 90 000 allowed, 40 000 in use: 50 blocks, one of them for padding.
  EXPECT_EQ(plan_kv_blocks(plan), 49);
  plan.fill_memory = false;
  EXPECT_EQ(plan_kv_blocks(plan), 20);
  plan.cache_bytes = 15'999;
  EXPECT_EQ(plan_kv_blocks(plan), 14);
}

TEST(KvPlan, RefusesACacheThatHoldsNoSequence) {
  KvPlan plan{.block_bytes = 1000,
              .total_bytes = 100'000,
              .free_bytes = 15'000,
              .memory_utilization = 0.9,
              .max_model_len = 160,
              .max_num_seqs = 2};
  EXPECT_EQ(code_of([&] { plan_kv_blocks(plan); }), ErrorCode::kOutOfMemory);
  plan.allow_short = true;
  EXPECT_EQ(plan_kv_blocks(plan), 4);
  plan.free_bytes = 10'000;
  EXPECT_EQ(code_of([&] { plan_kv_blocks(plan); }), ErrorCode::kOutOfMemory);
  plan.memory_utilization = 1.5;
  EXPECT_EQ(code_of([&] { plan_kv_blocks(plan); }), ErrorCode::kInvalidArgument);
}

TEST(CacheType, IsThatOfActivationsOrHasEightBits) {
  using kernels::cuda::CacheType;
  for (const Half type : {Half::kF16, Half::kBf16}) {
    const ops::KvDtype own = type == Half::kF16 ? ops::KvDtype::kF16 : ops::KvDtype::kBf16;
    EXPECT_EQ(cache_type(std::nullopt, type), CacheType::kHalf);
    EXPECT_EQ(cache_type(ops::KvDtype::kFp8, type), CacheType::kE4M3);
    EXPECT_EQ(cache_type(ops::KvDtype::kInt8, type), CacheType::kInt8);
    for (const ops::KvDtype other : {ops::KvDtype::kF32, ops::KvDtype::kBf16, ops::KvDtype::kF16}) {
      if (other == own) {
        EXPECT_EQ(cache_type(other, type), CacheType::kHalf);
      } else {
        EXPECT_EQ(code_of([&] { cache_type(other, type); }), ErrorCode::kInvalidArgument);
      }
    }
  }
  // 16 tokens of 128 keys and values, and two scales each.
  EXPECT_EQ(kernels::cuda::kv_head_bytes(CacheType::kHalf, 128), 8192);
  EXPECT_EQ(kernels::cuda::kv_head_bytes(CacheType::kE4M3, 128), 4096 + 64);
  EXPECT_EQ(kernels::cuda::kv_head_bytes(CacheType::kInt8, 128), 4096 + 64);
}

TEST(Batch, WordsLieWhereTheViewSays) {
  const std::vector<std::int32_t> ids{5, 6, 7, 8};
  const std::vector<std::int32_t> first{3, 1}, second{9};
  const model::SequenceSlice slices[] = {{.token_count = 3, .past = 14, .blocks = first, .results = 2},
                                         {.token_count = 1, .past = 0, .blocks = second}};
  const BatchBounds bounds = bounds_of(slices);
  EXPECT_EQ(bounds.max_queries, 3);
  EXPECT_EQ(bounds.max_length, 17);
  const BatchLayout layout{.tokens = 6, .sequences = 4, .block_stride = 3};
  std::vector<std::int32_t> words(static_cast<std::size_t>(layout.words()), -1);
  write_batch(layout, ids, slices, 100, 77, words.data());
  const kernels::cuda::SequenceBatch batch = layout.view(words.data(), bounds.max_queries, bounds.max_length);
  using Words = std::vector<std::int32_t>;
  const auto read = [](const std::int32_t* from, std::size_t count) { return Words(from, from + count); };
  EXPECT_EQ(read(words.data() + layout.ids(), 6), (Words{5, 6, 7, 8, 0, 0}));
  EXPECT_EQ(read(batch.query_begin, 5), (Words{0, 3, 4, 5, 6}));
  EXPECT_EQ(read(batch.past, 4), (Words{14, 0, 0, 0}));
  EXPECT_EQ(read(batch.token_sequence, 6), (Words{0, 0, 0, 1, 2, 3}));
  EXPECT_EQ(read(batch.blocks, 12), (Words{3, 1, 77, 9, 77, 77, 77, 77, 77, 77, 77, 77}));
  EXPECT_EQ(result_count(slices), 3);
  EXPECT_EQ(read(words.data() + layout.results(), 4), (Words{1, 2, 3, -1}));
  EXPECT_EQ(code_of([&] { write_batch(layout, ids, slices, 8, 77, words.data()); }), ErrorCode::kInvalidArgument);
}

model::LinearWeights dense(std::uint64_t rows, std::uint64_t width, float first, bool bias) {
  model::LinearWeights out;
  out.out_features = rows;
  out.in_features = width;
  out.dtype = DType::kF32;
  out.dense = AlignedBuffer<std::byte>(rows * width * sizeof(float));
  auto* values = reinterpret_cast<float*>(out.dense.data());
  std::iota(values, values + rows * width, first);
  if (bias) {
    out.bias = AlignedBuffer<float>(rows);
    std::iota(out.bias.begin(), out.bias.end(), first + 0.5F);
  }
  return out;
}

TEST(Fuse, RowsFollowInTheOrderOfTheParts) {
  model::LinearWeights a = dense(2, 8, 0, false), b = dense(1, 8, 100, true), c = dense(3, 8, 200, false);
  model::LinearWeights* const parts[] = {&a, &b, &c};
  const FusedWeight fused = fuse(parts, Half::kF16);
  ASSERT_FALSE(fused.quantized());
  EXPECT_EQ(fused.out_features, 6U);
  std::vector<float> values(6 * 8);
  widen_to_float(DType::kF16, fused.halves.span(), values);
  EXPECT_EQ(values[0], 0);
  EXPECT_EQ(values[8], 8);
  EXPECT_EQ(values[16], 100);
  EXPECT_EQ(values[24], 200);
  EXPECT_EQ(values[47], 223);
  // A part without bias adds nothing.
  EXPECT_EQ(std::vector<float>(fused.bias.begin(), fused.bias.end()), (std::vector<float>{0, 0, 100.5F, 0, 0, 0}));
}

TEST(Device, NamesAreChecked) {
  EXPECT_EQ(device::parse_name("cpu"), -1);
  EXPECT_EQ(device::parse_name("cuda"), 0);
  EXPECT_EQ(device::parse_name("cuda:12"), 12);
  for (const char* name : {"", "cuda:", "cuda:-1", "cuda:1x", "cuda1", "gpu", "cuda:99999999999"}) {
    EXPECT_EQ(code_of([&] { device::parse_name(name); }), ErrorCode::kInvalidArgument) << name;
  }
}

TEST(Device, WhatIsNotThereCannotBeOpened) {
  EXPECT_EQ(code_of([] { device::open(device::count()); }), ErrorCode::kDevice);
}

}  // namespace
}  // namespace awq::gpu
