#pragma once

#include <cstdint>

namespace awq::eval {

/// What a row of logits comes to.
struct LogitRow {
  double log_sum = 0;     ///< log of the sum of exp(logit)
  std::int64_t best = 0;  ///< index of the largest logit, the first of several
};
LogitRow reduce_row(const float* logits, std::int64_t vocab);
/// The same of each row of logits [rows, vocab], on all threads.
void reduce_rows(const float* logits, std::int64_t rows, std::int64_t vocab, LogitRow* out);

/// KL(softmax(p) || softmax(q)) in nats; logits p and q [vocab], and their reduce_row(). Never negative.
double kl_divergence(const float* p, const LogitRow& p_row, const float* q, const LogitRow& q_row, std::int64_t vocab);

}  // namespace awq::eval
