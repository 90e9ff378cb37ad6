#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

namespace awq::eval {

LogitRow reduce_row(const float* logits, std::int64_t vocab) {
  LogitRow row;
  for (std::int64_t v = 1; v < vocab; ++v) {
    if (logits[v] > logits[row.best]) row.best = v;
  }
  double sum = 0;
  for (std::int64_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[v]) - logits[row.best]);
  row.log_sum = logits[row.best] + std::log(sum);
  return row;
}

void reduce_rows(const float* logits, std::int64_t rows, std::int64_t vocab, LogitRow* out) {
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) out[row] = reduce_row(logits + row * vocab, vocab);
}

double kl_divergence(const float* p, const LogitRow& p_row, const float* q, const LogitRow& q_row, std::int64_t vocab) {
  double kl = 0;
  for (std::int64_t v = 0; v < vocab; ++v) {
    const double log_p = p[v] - p_row.log_sum;
    kl += std::exp(log_p) * (log_p - (q[v] - q_row.log_sum));
  }
  return std::max(kl, 0.0);  // exact value is never negative; rounding may be
}

}  // namespace awq::eval
