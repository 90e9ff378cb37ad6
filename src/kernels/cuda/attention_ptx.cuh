#pragma once

#include "kernels/cuda/ptx.cuh"

/// Instructions that the attention kernels alone use.
namespace awq::kernels::cuda {

/// Copies 16 bytes to shared memory, or zeros without reading `from`.
__device__ __forceinline__ void copy_async(std::uint32_t to, const void* from, bool read) {
#ifdef AWQ_BEFORE_SM80
  ptx::copy_async(to, from, read ? 16 : 0);
#else
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(read ? 16 : 0)
               : "memory");
#endif
}
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// 2^x, results below 2^-126 are 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace awq::kernels::cuda
