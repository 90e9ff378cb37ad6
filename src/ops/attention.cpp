#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/parallel.h"
#include "ops/gemm.h"

namespace awq::ops {
namespace {

// Queries whose scores are computed by one product.
constexpr std::int64_t kQueryBlock = 64;

struct Task {
  const AttentionSequence* sequence;
  std::int64_t head;
  std::int64_t query_begin;
  std::int64_t query_end;
};

/// Softmax of scores[0, count) in place; entries before `visible_begin` or from `visible_end` on become 0.
void masked_softmax(float* scores, std::int64_t count, std::int64_t visible_begin, std::int64_t visible_end) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = visible_begin; j < visible_end; ++j) largest = std::max(largest, scores[j]);
  float sum = 0;
  for (std::int64_t j = visible_begin; j < visible_end; ++j) {
    scores[j] = std::exp(scores[j] - largest);
    sum += scores[j];
  }
  const float factor = 1.0F / sum;
  for (std::int64_t j = visible_begin; j < visible_end; ++j) scores[j] *= factor;
  std::fill(scores, scores + visible_begin, 0.0F);
  std::fill(scores + visible_end, scores + count, 0.0F);
}

void run_task(const Task& task, const AttentionShape& shape, std::vector<float>& scores) {
  const AttentionSequence& s = *task.sequence;
  const std::int64_t d = shape.head_dim;
  const std::int64_t q_width = shape.num_heads * d;
  const std::int64_t kv_width = shape.num_kv_heads * d;
  const std::int64_t kv_head = task.head / (shape.num_heads / shape.num_kv_heads);
  const std::int64_t past = s.key_count - s.query_count;
  const std::int64_t queries = task.query_end - task.query_begin;
  const std::int64_t key_end = past + task.query_end;  // no query of this block sees further
  const std::int64_t key_begin =
      shape.window > 0 ? std::max<std::int64_t>(0, past + task.query_begin + 1 - shape.window) : 0;
  const std::int64_t keys = key_end - key_begin;
  scores.resize(static_cast<std::size_t>(std::max(scores.size(), static_cast<std::size_t>(queries * keys))));
  const float* q = s.q + task.query_begin * q_width + task.head * d;
  const float* k = s.keys + key_begin * kv_width + kv_head * d;
  const float* v = s.values + key_begin * kv_width + kv_head * d;
  float* out = s.out + task.query_begin * q_width + task.head * d;
  gemm(GemmF32{.transpose_b = true,
               .m = queries,
               .n = keys,
               .k = d,
               .alpha = shape.scale,
               .a = q,
               .lda = q_width,
               .b = k,
               .ldb = kv_width,
               .c = scores.data(),
               .ldc = keys});
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t last = past + task.query_begin + i;
    const std::int64_t first = shape.window > 0 ? std::max<std::int64_t>(0, last + 1 - shape.window) : 0;
    masked_softmax(scores.data() + i * keys, keys, first - key_begin, last + 1 - key_begin);
  }
  gemm(GemmF32{.m = queries,
               .n = d,
               .k = keys,
               .a = scores.data(),
               .lda = keys,
               .b = v,
               .ldb = kv_width,
               .c = out,
               .ldc = q_width});
}

}  // namespace

void attention(std::span<const AttentionSequence> sequences, const AttentionShape& shape) {
  std::vector<Task> tasks;
  for (const AttentionSequence& sequence : sequences) {
    for (std::int64_t begin = 0; begin < sequence.query_count; begin += kQueryBlock) {
      const std::int64_t end = std::min(sequence.query_count, begin + kQueryBlock);
      for (std::int64_t head = 0; head < shape.num_heads; ++head) tasks.push_back({&sequence, head, begin, end});
    }
  }
  const auto count = static_cast<std::int64_t>(tasks.size());
  ParallelError error;
#pragma omp parallel if (count > 1)
  {
    std::vector<float> scores;
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t i = 0; i < count; ++i) {
      error.guard([&] { run_task(tasks[static_cast<std::size_t>(i)], shape, scores); });
    }
  }
  error.rethrow();
}

}  // namespace awq::ops
