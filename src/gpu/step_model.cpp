#include "gpu/step_model.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "device/device.h"
#include "engine/language_step_model.h"
#include "gpu/kv_plan.h"

namespace awq::gpu {
namespace {

using device::check;

constexpr std::int64_t kWordBytes = sizeof(std::int32_t);
// What recorded steps and the library of products take beside what is planned.
constexpr std::uint64_t kReservedBytes = std::uint64_t{256} << 20;

BatchLimits limits_of(const StepOptions& options, std::int64_t max_model_len) {
  BatchLimits out;
  const std::int64_t bucket = sequence_bucket(options.max_num_seqs);
  out.sequences = std::max(options.max_num_seqs, bucket);
  out.tokens = std::max(options.max_num_batched_tokens, out.sequences);
  out.length = length_bucket(max_model_len);
  out.rows = std::max({engine::kLogitRows, bucket, std::min(options.max_num_seqs, kSequenceBuckets.back())});
  return out;
}

/// Words of the largest batch, recorded or not.
std::int64_t batch_words(const BatchLimits& limits) {
  const BatchLayout layout{
      .tokens = limits.tokens, .sequences = limits.sequences, .block_stride = blocks_for(limits.length)};
  return layout.words();
}

}  // namespace

bool graphs_by_environment() {
  const char* value = std::getenv("AWQ_CUDA_GRAPHS");
  return value == nullptr || std::strcmp(value, "0") != 0;
}

StepModel::StepModel(std::unique_ptr<Model> model, const StepOptions& options)
    : model_(std::move(model)), use_graphs_(options.graphs) {
  const model::ModelConfig& config = model_->config();
  const std::int64_t context = engine::cached_context(config);
  max_model_len_ = options.max_model_len > 0 ? std::min(options.max_model_len, context) : context;
  limits_ = limits_of(options, max_model_len_);
  model_->prepare(max_model_len_);

  const auto lay_out = [&](device::Arena& arena) {
    work_ = model_->lay_out(limits_, arena);
    device_words_ = arena.take_array<std::int32_t>(batch_words(limits_));
    device_rows_ = arena.take_array<std::int32_t>(limits_.rows);
    device_ids_ = arena.take_array<std::int32_t>(limits_.rows);
    device_drawn_ = arena.take_array<std::int32_t>(limits_.rows);
    device_rules_ = arena.take_array<ops::DrawRule>(limits_.rows);
  };
  device::Arena measured;
  lay_out(measured);
  arena_ = device::Arena(measured.used());
  lay_out(arena_);
  // Kernels may count in their workspace from zero on, and rows that pad a product should be numbers.
  device::fill(work_.hidden, 0, arena_.used(), stream_);
  const auto bytes = [](std::int64_t words) { return static_cast<std::uint64_t>(words * kWordBytes); };
  words_ = device::PinnedBuffer(bytes(batch_words(limits_)));
  rows_ = device::PinnedBuffer(bytes(limits_.rows));
  ids_ = device::PinnedBuffer(bytes(limits_.rows));
  drawn_ = device::PinnedBuffer(bytes(limits_.rows));
  rules_ = device::PinnedBuffer(static_cast<std::uint64_t>(limits_.rows) * sizeof(ops::DrawRule));
  logits_ = device::PinnedBuffer(bytes(engine::kLogitRows * config.vocab_size));

  const std::uint64_t block_bytes = model_->kv_block_bytes() * static_cast<std::uint64_t>(config.num_hidden_layers);
  const device::MemoryInfo memory = device::memory();
  block_count_ = plan_kv_blocks({.block_bytes = block_bytes,
                                 .total_bytes = memory.total_bytes,
                                 .free_bytes = memory.free_bytes - std::min(memory.free_bytes, kReservedBytes),
                                 .memory_utilization = options.memory_utilization,
                                 .cache_bytes = options.cache_memory_bytes,
                                 .max_model_len = max_model_len_,
                                 .max_num_seqs = options.max_num_seqs,
                                 .fill_memory = options.fill_memory,
                                 .allow_short = options.allow_short || options.max_model_len == 0});
  kv_ = device::Buffer(static_cast<std::uint64_t>(block_count_ + 1) * block_bytes);
  pool_ = {.data = kv_.data(), .layer_bytes = static_cast<std::uint64_t>(block_count_ + 1) * model_->kv_block_bytes()};
  device::fill(kv_.data(), 0, kv_.bytes(), stream_);  // what is masked is multiplied by zero: it must not be NaN
  stream_.synchronize();
}

StepModel::~StepModel() = default;

void StepModel::upload_batch(const BatchLayout& layout, std::span<const std::int32_t> ids,
                             std::span<const model::SequenceSlice> slices) {
  if (upload_pending_) uploaded_.synchronize();  // the words of the last step may still be on their way
  write_batch(layout, ids, slices, vocab_size(), static_cast<std::int32_t>(block_count_), words_.as<std::int32_t>());
  device::upload(device_words_, words_.data(), static_cast<std::uint64_t>(layout.words() * kWordBytes), stream_);
  uploaded_.record(stream_);
  upload_pending_ = true;
}

void StepModel::run(std::span<const std::int32_t> ids, std::span<const model::SequenceSlice> slices) {
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const auto sequences = static_cast<std::int64_t>(slices.size());
  const BatchBounds bounds = bounds_of(slices);
  AWQ_CHECK(tokens <= limits_.tokens && sequences <= limits_.sequences && bounds.max_length <= max_model_len_);
  has_logits_ = false;
  const std::int64_t bucket = use_graphs_ && bounds.max_queries == 1 ? sequence_bucket(sequences) : 0;
  if (bucket != 0 && bucket <= limits_.rows) {
    const Key key{.sequences = bucket, .length = length_bucket(bounds.max_length)};
    const BatchLayout layout{.tokens = bucket, .sequences = bucket, .block_stride = blocks_for(key.length)};
    upload_batch(layout, ids, slices);
    run_decode(layout, key);
    has_logits_ = true;
    return;
  }
  const BatchLayout layout{.tokens = tokens, .sequences = sequences, .block_stride = blocks_for(bounds.max_length)};
  upload_batch(layout, ids, slices);
  results_ = {words_.as<std::int32_t>() + layout.results(), static_cast<std::size_t>(result_count(slices))};
  hidden_ = model_->forward(
      work_, device_words_ + layout.ids(), layout.view(device_words_, bounds.max_queries, bounds.max_length),
      {.rows = device_words_ + layout.results(), .count = static_cast<std::int64_t>(results_.size())}, pool_, stream_);
}

std::int32_t StepModel::row_of(std::int64_t token) const {
  const auto found = std::lower_bound(results_.begin(), results_.end(), token);
  AWQ_CHECK(found != results_.end() && *found == token);
  return static_cast<std::int32_t>(found - results_.begin());
}

void StepModel::enqueue_decode(const BatchLayout& layout, const Key& key) {
  const float* hidden = model_->forward(work_, device_words_ + layout.ids(), layout.view(device_words_, 1, key.length),
                                        {}, pool_, stream_);
  model_->head(work_, hidden, nullptr, key.sequences, stream_);
  check(kernels::cuda::argmax(work_.logits, key.sequences, vocab_size(), device_ids_, stream_.get()), "argmax");
  device::download(ids_.data(), device_ids_, static_cast<std::uint64_t>(key.sequences * kWordBytes), stream_);
}

void StepModel::run_decode(const BatchLayout& layout, const Key& key) {
  for (const Recorded& recorded : graphs_) {
    if (recorded.key.sequences == key.sequences && recorded.key.length == key.length) {
      return recorded.graph.launch(stream_);
    }
  }
  // The first step of a bucket runs as it is, which lets libraries choose and load what a recording must not; then it
  // is recorded for the next one.
  enqueue_decode(layout, key);
  graphs_.push_back({key, device::Graph(stream_, [&] { enqueue_decode(layout, key); })});
}

void StepModel::enqueue_head(std::span<const std::int64_t> tokens) {
  AWQ_CHECK(static_cast<std::int64_t>(tokens.size()) <= limits_.rows);
  std::transform(tokens.begin(), tokens.end(), rows_.as<std::int32_t>(), [&](std::int64_t t) { return row_of(t); });
  device::upload(device_rows_, rows_.data(), tokens.size() * kWordBytes, stream_);
  model_->head(work_, hidden_, device_rows_, static_cast<std::int64_t>(tokens.size()), stream_);
}

std::span<float> StepModel::logits(std::span<const std::int64_t> tokens) {
  const auto vocab = static_cast<std::size_t>(vocab_size());
  AWQ_CHECK(static_cast<std::int64_t>(tokens.size()) <= engine::kLogitRows);
  if (!has_logits_) enqueue_head(tokens);
  float* to = logits_.as<float>();
  for (std::size_t begin = 0; begin < tokens.size();) {
    // Neighbouring rows come over in one copy.
    std::size_t end = begin + 1;
    while (end < tokens.size() && (!has_logits_ || tokens[end] == tokens[end - 1] + 1)) ++end;
    const std::size_t row = has_logits_ ? static_cast<std::size_t>(tokens[begin]) : begin;
    device::download(to + begin * vocab, work_.logits + row * vocab, (end - begin) * vocab * sizeof(float), stream_);
    begin = end;
  }
  stream_.synchronize();
  return {to, tokens.size() * vocab};
}

bool StepModel::greedy(std::span<const std::int64_t> tokens, std::span<std::int32_t> ids) {
  AWQ_CHECK(tokens.size() == ids.size());
  const auto* found = ids_.as<std::int32_t>();
  if (has_logits_) {
    stream_.synchronize();
    for (std::size_t i = 0; i < tokens.size(); ++i) ids[i] = found[tokens[i]];
    return true;
  }
  const auto most = static_cast<std::size_t>(limits_.rows);
  for (std::size_t begin = 0; begin < tokens.size(); begin += most) {
    const std::size_t count = std::min(most, tokens.size() - begin);
    enqueue_head(tokens.subspan(begin, count));
    check(
        kernels::cuda::argmax(work_.logits, static_cast<std::int64_t>(count), vocab_size(), device_ids_, stream_.get()),
        "argmax");
    device::download(ids_.data(), device_ids_, count * kWordBytes, stream_);
    stream_.synchronize();
    std::copy_n(found, count, ids.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return true;
}

bool StepModel::draw(std::span<const std::int64_t> tokens, std::span<const ops::DrawRule> rules,
                     std::span<std::int32_t> ids) {
  AWQ_CHECK(tokens.size() == ids.size() && tokens.size() == rules.size());
  const auto most = static_cast<std::size_t>(limits_.rows);
  for (std::size_t begin = 0; begin < tokens.size(); begin += most) {
    const std::size_t count = std::min(most, tokens.size() - begin);
    if (has_logits_) {
      std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(begin), count, rows_.as<std::int32_t>());
      device::upload(device_rows_, rows_.data(), count * kWordBytes, stream_);
    } else {
      enqueue_head(tokens.subspan(begin, count));
    }
    std::copy_n(rules.begin() + static_cast<std::ptrdiff_t>(begin), count, rules_.as<ops::DrawRule>());
    device::upload(device_rules_, rules_.data(), count * sizeof(ops::DrawRule), stream_);
    check(kernels::cuda::draw(work_.logits, has_logits_ ? device_rows_ : nullptr, device_rules_,
                              static_cast<std::int64_t>(count), vocab_size(), device_drawn_, stream_.get()),
          "draw");
    device::download(drawn_.data(), device_drawn_, count * kWordBytes, stream_);
    stream_.synchronize();
    std::copy_n(drawn_.as<std::int32_t>(), count, ids.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return true;
}

}  // namespace awq::gpu
