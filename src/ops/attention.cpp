#include "ops/attention.h"

#include <omp.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/cpu_features.h"
#include "ops/activation_precision.h"

namespace awq::ops {
namespace {

using kernels::kAttentionStep;
using kernels::kKvBlockTokens;
using kernels::kMaxAttentionRows;
using Task = AttentionScratch::Task;

// Keys of one part. Parts are summed apart and then joined in order, by one thread or by many: cut at multiples of this
// from the start of the text, so that the sums are the same.
constexpr std::int64_t kPartKeys = 512;
// With fewer tasks than this per thread, the parts of long texts become tasks of their own.
constexpr std::int64_t kTasksPerThread = 4;

const kernels::AttentionKernel& select_attention() {
  const kernels::AttentionKernel* row = kernels::attention_kernels_cpu();
  while (row->name != nullptr &&
         (row->min_isa > static_cast<std::uint8_t>(active_isa()) || (row->rounds_to_bf16 && !rounds_to_bf16()))) {
    ++row;
  }
  AWQ_CHECK(row->name != nullptr);
  return *row;
}

/// Result of some rows over some keys, in memory of its own.
struct Rows {
  float* largest;  ///< [kMaxAttentionRows]
  float* sum;      ///< [kMaxAttentionRows]
  float* out;      ///< [kMaxAttentionRows, padded_dim]

  static std::int64_t floats(std::int64_t padded_dim) { return kMaxAttentionRows * (padded_dim + 2); }
  explicit Rows(float* memory) : largest(memory), sum(memory + kMaxAttentionRows), out(sum + kMaxAttentionRows) {}
};

/// What one thread works with.
struct Worker {
  float* q;       ///< [kMaxAttentionRows, padded_dim], packed and scaled
  float* scores;  ///< [kMaxAttentionRows, kAttentionStep]
  Rows part, total;
  std::uint16_t* pairs;  ///< [attention_pairs()]

  /// From one thread's memory to the next: whole cache lines.
  static std::int64_t stride(const kernels::KvLayout& layout) {
    const std::int64_t dim = layout.padded_dim();
    const std::int64_t floats = kMaxAttentionRows * (dim + kAttentionStep) + 2 * Rows::floats(dim);
    return (floats + (kernels::attention_pairs(layout) + 1) / 2 + 15) / 16 * 16;
  }
  Worker(float* memory, std::int64_t padded_dim)
      : q(memory),
        scores(q + kMaxAttentionRows * padded_dim),
        part(scores + kMaxAttentionRows * kAttentionStep),
        total(scores + kMaxAttentionRows * kAttentionStep + Rows::floats(padded_dim)),
        pairs(reinterpret_cast<std::uint16_t*>(total.out + kMaxAttentionRows * padded_dim)) {}
};

struct Context {
  const AttentionShape& shape;
  const kernels::AttentionKernel& kernel;
  std::int64_t padded_dim;

  std::int64_t first_key(const Task& task, std::int64_t query) const {
    const std::int64_t position = task.sequence->past + query;
    return shape.window > 0 ? std::max<std::int64_t>(0, position + 1 - shape.window) : 0;
  }

  /// Row i * heads + h of a task is query i of head h.
  void pack_q(const Task& task, float* q) const {
    const std::int64_t width = shape.num_heads * shape.head_dim;
    for (std::int64_t i = 0; i < task.queries; ++i) {
      const float* from = task.sequence->q + (task.query + i) * width + task.head * shape.head_dim;
      for (std::int64_t c = 0; c < task.heads * shape.head_dim; ++c) *q++ = from[c] * shape.scale;
    }
  }

  void run_part(const Task& task, std::int64_t part, const Worker& worker, const Rows& to) const {
    std::int64_t first[kMaxAttentionRows], last[kMaxAttentionRows];
    const AttentionSequence& s = *task.sequence;
    const std::int64_t rows = task.queries * task.heads;
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t query = task.query + row / task.heads;
      first[row] = first_key(task, query);
      last[row] = s.past + query + 1;
    }
    const std::int64_t begin = std::max(part * kPartKeys, first[0] / kAttentionStep * kAttentionStep);
    const std::int64_t end = std::min((part + 1) * kPartKeys, last[rows - 1]);
    kernel.run({.layout = s.cache.layout,
                .head = s.cache.head(0, task.kv_head),
                .block_bytes = s.cache.block_bytes(),
                .blocks = s.blocks,
                .rows = rows,
                .q = worker.q,
                .first = first,
                .last = last,
                .key_begin = begin,
                .key_end = end,
                .largest = to.largest,
                .sum = to.sum,
                .out = to.out,
                .scores = worker.scores,
                .pairs = worker.pairs});
  }

  /// total = total and part together; the first part is taken as it is.
  void join(const Task& task, std::int64_t part, const Rows& from, const Rows& total) const {
    const std::int64_t rows = task.queries * task.heads;
    for (std::int64_t row = 0; row < rows; ++row) {
      const float* added = from.out + row * padded_dim;
      float* out = total.out + row * padded_dim;
      if (part == task.first_part || total.largest[row] == -std::numeric_limits<float>::infinity()) {
        total.largest[row] = from.largest[row];
        total.sum[row] = from.sum[row];
        std::copy(added, added + padded_dim, out);
      } else if (from.largest[row] != -std::numeric_limits<float>::infinity()) {
        const float m = std::max(total.largest[row], from.largest[row]);
        const float f = kernels::exp_nonpositive(total.largest[row] - m);
        const float g = kernels::exp_nonpositive(from.largest[row] - m);
        total.largest[row] = m;
        total.sum[row] = total.sum[row] * f + from.sum[row] * g;
        for (std::int64_t c = 0; c < padded_dim; ++c) out[c] = out[c] * f + added[c] * g;
      }
    }
  }

  void finish(const Task& task, const Rows& total) const {
    const std::int64_t width = shape.num_heads * shape.head_dim;
    for (std::int64_t row = 0; row < task.queries * task.heads; ++row) {
      float* to = task.sequence->out + (task.query + row / task.heads) * width +
                  (task.head + row % task.heads) * shape.head_dim;
      const float factor = 1.0F / total.sum[row];
      for (std::int64_t c = 0; c < shape.head_dim; ++c) to[c] = total.out[row * padded_dim + c] * factor;
    }
  }
};

/// Tiles of queries of one kv head's heads, kMaxAttentionRows rows at most. Counts only when `to` is null.
std::int64_t make_tasks(std::span<const AttentionSequence> sequences, const AttentionShape& shape, Task* to) {
  const std::int64_t group = shape.num_heads / shape.num_kv_heads;
  std::int64_t count = 0;
  for (const AttentionSequence& s : sequences) {
    for (std::int64_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
      for (std::int64_t head = 0; head < group; head += kMaxAttentionRows) {
        const std::int64_t heads = std::min(group - head, kMaxAttentionRows);
        const std::int64_t tile = std::max<std::int64_t>(1, kMaxAttentionRows / heads);
        for (std::int64_t query = 0; query < s.query_count; query += tile) {
          const std::int64_t queries = std::min(tile, s.query_count - query);
          const std::int64_t first =
              shape.window > 0 ? std::max<std::int64_t>(0, s.past + query + 1 - shape.window) : 0;
          const std::int64_t first_part = first / kPartKeys;
          const std::int64_t parts = (s.past + query + queries - 1) / kPartKeys + 1 - first_part;
          if (to != nullptr) {
            to[count] = {&s, kv_head, kv_head * group + head, heads, query, queries, first_part, parts, 0};
          }
          ++count;
        }
      }
    }
  }
  return count;
}

/// Query heads of one kv head that a task takes, and the queries of each.
struct Tile {
  std::int64_t heads, queries;
};
Tile tile_of(const AttentionShape& shape) {
  const std::int64_t heads = std::min(shape.num_heads / shape.num_kv_heads, kMaxAttentionRows);
  return {heads, std::max<std::int64_t>(1, kMaxAttentionRows / heads)};
}

}  // namespace

void AttentionScratch::reserve(std::int64_t tokens, std::int64_t sequences, std::int64_t length,
                               const AttentionShape& shape) {
  const kernels::KvLayout any{.head_dim = shape.head_dim};
  const std::int64_t padded_dim = any.padded_dim();
  const std::int64_t threads = omp_get_max_threads();
  const Tile tile = tile_of(shape);
  const std::int64_t group = shape.num_heads / shape.num_kv_heads;
  const std::int64_t pieces = (group + tile.heads - 1) / tile.heads * shape.num_kv_heads;
  const std::int64_t tasks = pieces * (tokens / tile.queries + std::min(tokens, sequences));
  tasks_.ensure(static_cast<std::size_t>(tasks));
  per_thread_.ensure(static_cast<std::size_t>(threads * Worker::stride(any)));
  if (threads == 1) return;
  // Parts run apart only in batches of few tasks.
  const std::int64_t parts = std::min(tasks, kTasksPerThread * threads) * ((length + kPartKeys - 1) / kPartKeys);
  partial_.ensure(static_cast<std::size_t>(parts * Rows::floats(padded_dim)));
  part_tasks_.ensure(static_cast<std::size_t>(parts));
}

void store_kv(const KvView& cache, const std::int32_t* blocks, std::int64_t past, std::int64_t count, const float* keys,
              const float* values) {
  const std::int64_t d = cache.layout.head_dim;
#pragma omp parallel for schedule(static) if (count * cache.num_kv_heads * d >= 32768)
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t token = past + i;
    for (std::int64_t h = 0; h < cache.num_kv_heads; ++h) {
      const std::int64_t at = (i * cache.num_kv_heads + h) * d;
      kernels::store_kv(cache.layout, cache.head(blocks[token / kKvBlockTokens], h), token, keys + at, values + at);
    }
  }
}

void attention(std::span<const AttentionSequence> sequences, const AttentionShape& shape, AttentionScratch& scratch) {
  const kernels::KvLayout any{.head_dim = shape.head_dim};
  const Context context{shape, select_attention(), any.padded_dim()};
  const std::int64_t count = make_tasks(sequences, shape, nullptr);
  if (count == 0) return;
  const int threads = omp_get_max_threads();
  scratch.tasks_.ensure(static_cast<std::size_t>(count));
  make_tasks(sequences, shape, scratch.tasks_.data());
  Task* tasks = scratch.tasks_.data();
  const std::int64_t worker_floats = Worker::stride(any);
  scratch.per_thread_.ensure(static_cast<std::size_t>(threads * worker_floats));
  float* memory = scratch.per_thread_.data();

  std::int64_t parts = 0, work = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    tasks[i].slot = parts;
    parts += tasks[i].parts;
    work += tasks[i].parts * tasks[i].queries * tasks[i].heads;
  }
  if (threads == 1 || count >= kTasksPerThread * threads || parts == count) {
    // A row of one part is some 30,000 operations: below a few of them a team is not worth waking.
#pragma omp parallel num_threads(threads) if (count > 1 && work * shape.head_dim > 512)
    {
      const Worker w(memory + omp_get_thread_num() * worker_floats, context.padded_dim);
#pragma omp for schedule(dynamic, 1)
      for (std::int64_t i = count - 1; i >= 0; --i) {  // later queries see more keys: the longest tasks come first
        const Task& task = tasks[i];
        context.pack_q(task, w.q);
        for (std::int64_t part = task.first_part; part < task.first_part + task.parts; ++part) {
          context.run_part(task, part, w, w.part);
          context.join(task, part, w.part, w.total);
        }
        context.finish(task, w.total);
      }
    }
    return;
  }
  const std::int64_t rows_floats = Rows::floats(context.padded_dim);
  scratch.partial_.ensure(static_cast<std::size_t>(parts * rows_floats));
  scratch.part_tasks_.ensure(static_cast<std::size_t>(parts));
  float* partial = scratch.partial_.data();
  std::int64_t* task_of = scratch.part_tasks_.data();
  for (std::int64_t i = 0; i < count; ++i) std::fill_n(task_of + tasks[i].slot, tasks[i].parts, i);
#pragma omp parallel num_threads(threads)
  {
    const Worker w(memory + omp_get_thread_num() * worker_floats, context.padded_dim);
#pragma omp for schedule(dynamic, 1)
    for (std::int64_t p = 0; p < parts; ++p) {
      const Task& task = tasks[task_of[p]];
      context.pack_q(task, w.q);
      context.run_part(task, task.first_part + p - task.slot, w, Rows(partial + p * rows_floats));
    }
#pragma omp for schedule(static)
    for (std::int64_t i = 0; i < count; ++i) {
      const Task& task = tasks[i];
      for (std::int64_t p = 0; p < task.parts; ++p) {
        context.join(task, task.first_part + p, Rows(partial + (task.slot + p) * rows_floats), w.total);
      }
      context.finish(task, w.total);
    }
  }
}

}  // namespace awq::ops
