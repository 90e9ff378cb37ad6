#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "kernels/api/cuda_types.h"

/// The block's dynamic shared memory, as bytes.
#define AWQ_DYNAMIC_SHARED(name, alignment) extern __shared__ __align__(alignment) std::uint8_t name[]

/// Instructions that CUDA C++ has no name for. Addresses of shared memory are 32-bit offsets (shared_address()).
namespace awq::kernels::cuda::ptx {

// What compute capability 7.5 lacks: copies that run beside the kernel, products of 16 inputs, products in BF16.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define AWQ_BEFORE_SM80
inline constexpr bool kBeforeSm80 = true;
#else
inline constexpr bool kBeforeSm80 = false;
#endif
/// False where kernels of this type are empty, and never started.
template <Half kType>
inline constexpr bool kHasProducts = kType == Half::kF16 || !kBeforeSm80;
/// Steps of a ring: as many as copies that run beside the kernel want, which is a constant there; else what the host
/// has made room for.
__device__ __forceinline__ constexpr int ring_depth(int beside, [[maybe_unused]] int given) {
  return kBeforeSm80 ? given : beside;
}

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// --- shared memory ---
__device__ __forceinline__ uint4 load_shared_16(std::uint32_t address) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3},[%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(address));
  return v;
}
__device__ __forceinline__ std::uint32_t load_shared_4(std::uint32_t address) {
  std::uint32_t v;
  asm volatile("ld.shared.u32 %0,[%1];" : "=r"(v) : "r"(address));
  return v;
}
__device__ __forceinline__ std::uint32_t load_shared_1(std::uint32_t address) {
  std::uint32_t v;
  asm volatile("{.reg .u16 t; ld.shared.u8 t,[%1]; cvt.u32.u16 %0,t;}" : "=r"(v) : "r"(address));
  return v;
}
/// Four 8x8 matrices of halves; lane l names the row l & 7 of matrix l >> 3.
__device__ __forceinline__ void load_matrices(std::uint32_t address, std::uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address));
}

/// Only a hint.
__device__ __forceinline__ void prefetch_to_l2(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

// --- asynchronous copies; before sm_80 they are done when the call returns ---
/// 16 bytes, or zeros where `bytes` is 0.
__device__ __forceinline__ void copy_async(std::uint32_t to, const void* from, int bytes = 16) {
#ifdef AWQ_BEFORE_SM80
  asm volatile(
      "{.reg .pred p; .reg .u32 a,b,c,d; setp.ne.s32 p,%2,0; mov.u32 a,0; mov.u32 b,0; mov.u32 c,0; mov.u32 d,0; "
      "@p ld.global.v4.u32 {a,b,c,d},[%1]; st.shared.v4.u32 [%0],{a,b,c,d};}" ::"r"(to),
      "l"(from), "r"(bytes)
      : "memory");
#else
  asm volatile("cp.async.cg.shared.global [%0],[%1],16,%2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#endif
}
__device__ __forceinline__ void copy_commit() {
#ifndef AWQ_BEFORE_SM80
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int kPending>
__device__ __forceinline__ void copy_wait() {
#ifndef AWQ_BEFORE_SM80
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// --- tensor cores ---
#ifdef AWQ_BEFORE_SM80
/// d += a b for a 16 x 8 and b 8 x 8, F16.
__device__ __forceinline__ void mma_8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(b));
}
#endif
/// d = a b + c for a 16 x 16 and b 16 x 8; with `kFirst`, c is 0. Before sm_80 two products, of inputs 0-7 and 8-15.
template <Half kType, bool kFirst>
__device__ __forceinline__ void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (kFirst) d[0] = d[1] = d[2] = d[3] = 0.0F;
#ifdef AWQ_BEFORE_SM80
  mma_8(d, a[0], a[1], b0);
  mma_8(d, a[2], a[3], b1);
#else
  if constexpr (kType == Half::kF16) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#endif
}

// --- dependent launches, sm_90: no effect where the launch has no such attribute ---
__device__ __forceinline__ void wait_for_earlier_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// --- numbers ---
template <Half kType>
__device__ __forceinline__ std::uint32_t pack_halves(float low, float high) {
  std::uint32_t r;
  if constexpr (kType == Half::kF16) {
    const __half2 v = __floats2half2_rn(low, high);
    memcpy(&r, &v, 4);
  } else {
    const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
    memcpy(&r, &v, 4);
  }
  return r;
}
template <Half kType>
__device__ __forceinline__ std::uint16_t to_half(float x) {
  std::uint16_t r;
  if constexpr (kType == Half::kF16) {
    const __half v = __float2half_rn(x);
    memcpy(&r, &v, 2);
  } else {
    const __nv_bfloat16 v = __float2bfloat16_rn(x);
    memcpy(&r, &v, 2);
  }
  return r;
}
/// (a & mask) | bits in one instruction.
__device__ __forceinline__ std::uint32_t and_or(std::uint32_t a, std::uint32_t mask, std::uint32_t bits) {
  std::uint32_t d;
  asm("lop3.b32 %0,%1,%2,%3,0xEA;" : "=r"(d) : "r"(a), "r"(mask), "r"(bits));
  return d;
}
/// Both halves of a word.
template <Half kType>
__device__ __forceinline__ std::uint32_t subtract_halves(std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;
  if constexpr (kType == Half::kF16) {
    asm("sub.f16x2 %0,%1,%2;" : "=r"(d) : "r"(a), "r"(b));
  } else {
    __nv_bfloat162 x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    x = __hsub2(x, y);
    memcpy(&d, &x, 4);
  }
  return d;
}
/// The two F16 numbers of a word.
__device__ __forceinline__ float2 widen_f16(std::uint32_t word) {
  __half2 h;
  memcpy(&h, &word, 4);
  return __half22float2(h);
}

/// a b + c of both halves of three words, rounded once; subnormal numbers count.
template <Half kType>
__device__ __forceinline__ std::uint32_t multiply_add_halves(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d = 0;
  if constexpr (kType == Half::kF16) {
    asm("fma.rn.f16x2 %0,%1,%2,%3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  } else {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800  // no kernel for BF16 is started elsewhere
    asm("fma.rn.bf16x2 %0,%1,%2,%3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
#endif
  }
  return d;
}
/// Products of both halves of two words.
template <Half kType>
__device__ __forceinline__ std::uint32_t multiply_halves(std::uint32_t a, std::uint32_t b) {
  std::uint32_t r;
  if constexpr (kType == Half::kF16) {
    __half2 x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    x = __hmul2(x, y);
    memcpy(&r, &x, 4);
  } else {
    __nv_bfloat162 x, y;
    memcpy(&x, &a, 4);
    memcpy(&y, &b, 4);
    x = __hmul2(x, y);
    memcpy(&r, &x, 4);
  }
  return r;
}
/// Two E4M3 numbers as F16; compute capability 8.9 and later.
__device__ __forceinline__ std::uint32_t widen_e4m3(std::uint16_t codes) {
  std::uint32_t r;
  asm("cvt.rn.f16x2.e4m3x2 %0,%1;" : "=r"(r) : "h"(codes));
  return r;
}

// --- flags in global memory ---
__device__ __forceinline__ void store_release(std::uint32_t* p, std::uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0],%1;" ::"l"(p), "r"(value) : "memory");
}
/// Adds after everything that this thread wrote, or saw written, before.
__device__ __forceinline__ void add_release(std::uint32_t* p, std::uint32_t value) {
  asm volatile("red.release.gpu.global.add.u32 [%0],%1;" ::"l"(p), "r"(value) : "memory");
}
__device__ __forceinline__ std::uint32_t load_acquire(const std::uint32_t* p) {
  std::uint32_t v;
  asm volatile("ld.acquire.gpu.global.u32 %0,[%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
/// The same value, which the compiler keeps instead of computing it again.
__device__ __forceinline__ std::uint32_t keep_value(std::uint32_t x) {
  std::uint32_t r;
  asm volatile("mov.u32 %0,%1;" : "=r"(r) : "r"(x));
  return r;
}
/// threadIdx.x, read where it stands: nothing that depends on it is computed earlier and kept in registers.
__device__ __forceinline__ int thread_here() {
  std::uint32_t r;
  asm volatile("mov.u32 %0,%%tid.x;" : "=r"(r));
  return static_cast<int>(r);
}
template <int kThreads>
__device__ __forceinline__ void barrier_sync(int barrier) {
  asm volatile("bar.sync %0,%1;" ::"r"(barrier), "n"(kThreads) : "memory");
}
template <int kThreads>
__device__ __forceinline__ void barrier_arrive_only(int barrier) {
  asm volatile("bar.arrive %0,%1;" ::"r"(barrier), "n"(kThreads) : "memory");
}
template <int kBarrier, int kThreads>
__device__ __forceinline__ void named_barrier() {
  asm volatile("bar.sync %0,%1;" ::"n"(kBarrier), "n"(kThreads) : "memory");
}

}  // namespace awq::kernels::cuda::ptx
