#pragma once

#include <cstdint>

namespace awq::kernels {

/// Memory that no cache holds: what weights, keys and values of a timing take together.
inline constexpr std::int64_t kColdBytes = std::int64_t{768} << 20;

/// Seconds: with one thread its own processor time, so that other work on the machine disturbs less; else wall-clock
/// time.
double bench_now();
/// Bytes per second of the plain sequential reader of this run; 0 where its row was filtered out.
double reader_rate();
/// Operations per second of oneDNN's 2048 x 2048 x 2048 product in binary32 of this run; 0 as above.
double onednn_rate();

/// Each registers its rows of Google Benchmark.
void add_packed_rows();
void add_attention_rows();
void add_dense_rows();

}  // namespace awq::kernels
