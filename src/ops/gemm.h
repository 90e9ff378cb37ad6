#pragma once

#include <cstdint>

#include "base/float16.h"

namespace awq::ops {

/// Dense matrix products through oneDNN, on all threads of the caller's OpenMP team; inside a parallel region each
/// call runs on the calling thread alone. Matrices are row-major with the given leading dimensions.

/// c[m,n] = alpha * op(a) * op(b) + beta * c in binary32. op() transposes when the flag is set: a is then [k,m], b
/// [n,k].
struct GemmF32 {
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  float alpha = 1;
  const float* a = nullptr;
  std::int64_t lda = 0;
  const float* b = nullptr;
  std::int64_t ldb = 0;
  float beta = 0;
  float* c = nullptr;
  std::int64_t ldc = 0;
};
void gemm(const GemmF32& g);

/// c[m,n] = op(a) * op(b) (+ c when accumulate) with bf16 inputs, binary32 sums and output.
struct GemmBf16 {
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
  const Bf16* a = nullptr;
  std::int64_t lda = 0;
  const Bf16* b = nullptr;
  std::int64_t ldb = 0;
  bool accumulate = false;
  float* c = nullptr;
  std::int64_t ldc = 0;
};
void gemm(const GemmBf16& g);

/// Threads for all parallel work of this process from now on (OpenMP and oneDNN); also passes the instruction set cap
/// on to oneDNN. Call once, before the first product. `decode_threads`: for steps of one token per sequence, which wait
/// for memory more than they compute; 0: as many.
void configure_threads(int threads, int decode_threads = 0);
/// OpenMP keeps the count with the thread that set it: any other thread that leads teams calls this first.
void adopt_threads();
/// Ends the calling thread's team, which the next parallel region would make anew. The runtime counts the threads of
/// all teams: where they are more than the processors, it takes the machine for crowded, and a waiting thread sleeps at
/// once instead of after a short spin.
void retire_team();
/// What the calling thread leads from now on: a model's steps say so, all else is kPrefill.
enum class Phase { kPrefill, kDecode };
void enter_phase(Phase phase);

}  // namespace awq::ops
