#pragma once

#include "awq/bench.h"
#include "bench/machine.h"
#include "model/kv_pool.h"
#include "model/language_model.h"

namespace awq::bench {

/// Times a model that is loaded: whole steps, as `awq run` and the server run them (paged keys and values, rows that do
/// not depend on each other), and the linears alone, each beside a pass of the plain read loop.
class ModelBench {
 public:
  /// `meter` and `peaks` outlive this object.
  ModelBench(model::LanguageModel& model, const ReadMeter& meter, double matmul_peak, const BenchOptions& options);

  /// Fills prefill_*.
  void prefill(BenchSummary& out);
  /// Fills decode_* with one sequence.
  void decode(BenchSummary& out);
  /// Steps of `batch` sequences together.
  BenchPoint decode_batch(std::int64_t batch);
  /// All linears and the head once, on `rows` rows: as a model runs them, or in bf16 (BenchSummary::linears_bf16).
  BenchPoint linears(std::int64_t rows, bool in_bf16 = false);
  /// True when products in bf16 with so many rows are something else.
  bool has_bf16_products(std::int64_t rows) const;
  /// Which kernels the shapes of this model run with so many rows; each shape once.
  std::vector<BenchKernel> kernels(std::int64_t rows) const;

 private:
  struct Steps {
    double seconds_per_step = 0;    ///< median of the repetitions
    double read_bytes_per_s = 0;    ///< plain loop, median of passes around each repetition
    double bandwidth_fraction = 0;  ///< median of the repetitions' own ratios
    double page_faults_per_step = 0;
  };
  /// Runs `steps` decode steps of `batch` sequences in each repetition.
  Steps time_decode(std::int64_t batch, std::int64_t steps);
  std::uint64_t bytes_per_step(std::int64_t batch, std::int64_t steps) const;
  /// Of a pass over `rows` tokens of which `results` have results (model::SequenceSlice).
  double linear_operations(std::int64_t rows, std::int64_t results) const;
  BenchPoint point(std::int64_t rows, double seconds, double bytes, double fraction, double operations) const;
  std::int32_t random_id(std::uint64_t i) const;
  void run_linears(std::int64_t rows, bool in_bf16);
  /// Bytes per second of the plain loop.
  double read_speed() const;
  /// Keys and values of `batch` sequences of `tokens` tokens, and the block table of all of them, one after the other.
  model::KvPool make_pool(std::int64_t batch, std::int64_t tokens);
  std::span<const std::int32_t> blocks_of(std::int64_t sequence, std::int64_t tokens) const;

  model::LanguageModel& model_;
  const ReadMeter& meter_;
  double matmul_peak_;
  const BenchOptions& options_;
  ops::KvDtype kv_dtype_;
  std::vector<std::int32_t> blocks_;
  AlignedBuffer<float> x_, y_;  ///< of the linears alone
};

}  // namespace awq::bench
