#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "base/float16.h"
#include "base/float8.h"
#include "kernels/api/cuda_types.h"

/// Twin of src/kernels/cuda/ptx.cuh for the emulated device. Copies take place when their group is waited for, or, on
/// the one of compute capability 7.5, at once; products of the tensor cores are summed in binary64 and rounded once, on
/// that one after every 8 inputs.
#define AWQ_DYNAMIC_SHARED(name, alignment) std::uint8_t* const name = cuda_emulation::shared_memory()

namespace awq::kernels::cuda::ptx {

inline constexpr bool kBeforeSm80 = false;  // of the code: which device it meets shows when it runs
template <Half kType>
inline constexpr bool kHasProducts = true;
constexpr int ring_depth(int, int given) { return given; }

/// Addresses are offsets from the block's dynamic memory; static memory lies in another allocation and has none.
inline std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(static_cast<const std::uint8_t*>(p) - cuda_emulation::shared_memory());
}
template <class T>
T* shared_pointer(std::uint32_t address) {
  return reinterpret_cast<T*>(cuda_emulation::shared_memory() + address);
}

inline uint4 load_shared_16(std::uint32_t address) { return *shared_pointer<const uint4>(address); }
inline std::uint32_t load_shared_4(std::uint32_t address) { return *shared_pointer<const std::uint32_t>(address); }
inline std::uint32_t load_shared_1(std::uint32_t address) { return *shared_pointer<const std::uint8_t>(address); }

inline void load_matrices(std::uint32_t address, std::uint32_t (&r)[4]) {
  using namespace cuda_emulation;
  const std::uint32_t* of_lane = exchange_words({address});
  const int row = own_lane() / 4, pair = own_lane() % 4;
  for (int i = 0; i < 4; ++i) r[i] = load_shared_4(of_lane[(8 * i + row) * kLaneWords] + 4U * pair);
}
inline void prefetch_to_l2(const void*) {}
inline void copy_async(std::uint32_t to, const void* from, int bytes = 16) {
  if (cuda_emulation::device.has_async_copies()) {
    cuda_emulation::copy_later(shared_pointer<void>(to), from, bytes);
  } else {
    std::memcpy(shared_pointer<void>(to), from, static_cast<std::size_t>(bytes));
    std::memset(shared_pointer<std::uint8_t>(to) + bytes, 0, static_cast<std::size_t>(16 - bytes));
  }
}
inline void copy_commit() { cuda_emulation::end_copy_group(); }
template <int kPending>
void copy_wait() {
  cuda_emulation::wait_for_copies(kPending);
}

template <Half kType>
float widen(std::uint32_t bits) {
  const auto half = static_cast<std::uint16_t>(bits);
  return kType == Half::kF16 ? to_float(F16{half}) : to_float(Bf16{half});
}
template <Half kType>
std::uint16_t to_half(float x) {
  return kType == Half::kF16 ? to_f16(x).bits : to_bf16(x).bits;
}
template <Half kType>
std::uint32_t pack_halves(float low, float high) {
  return to_half<kType>(low) | static_cast<std::uint32_t>(to_half<kType>(high)) << 16;
}

template <Half kType, bool kFirst>
void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  using namespace cuda_emulation;
  const std::uint32_t own[] = {a[0], a[1], a[2], a[3], b0, b1};
  std::uint32_t widened[kLaneWords];
  for (int i = 0; i < kLaneWords; ++i) widened[i] = __float_as_uint(widen<kType>(own[i / 2] >> (16 * (i % 2))));
  const std::uint32_t* of_lane = exchange_words(widened);
  const int g = own_lane() / 4, t = own_lane() % 4;
  // Element k of 16: lane k / 2 % 4 of its row or column, word k / 8, half k % 2.
  for (int c = 0; c < 4; ++c) {
    const std::uint32_t* row = of_lane + 4 * g * kLaneWords + 2 * (c / 2);
    const std::uint32_t* column = of_lane + 4 * (2 * t + c % 2) * kLaneWords + 8;
    double sum = kFirst ? 0 : d[c];
    for (int half = 0; half < 2; ++half, row += 4, column += 2) {
      for (int quarter = 0; quarter < 4; ++quarter) {
        const std::uint32_t* left = row + quarter * kLaneWords;
        const std::uint32_t* right = column + quarter * kLaneWords;
        for (int k = 0; k < 2; ++k) {
          sum += static_cast<double>(__uint_as_float(left[k])) * static_cast<double>(__uint_as_float(right[k]));
        }
      }
      if (!cuda_emulation::device.has_async_copies()) sum = static_cast<float>(sum);
    }
    d[c] = static_cast<float>(sum);
  }
}

inline void wait_for_earlier_kernel() {}
inline void let_next_kernel_start() {}

inline std::uint32_t and_or(std::uint32_t a, std::uint32_t mask, std::uint32_t bits) { return (a & mask) | bits; }
template <Half kType>
std::uint32_t subtract_halves(std::uint32_t a, std::uint32_t b) {
  return pack_halves<kType>(widen<kType>(a) - widen<kType>(b), widen<kType>(a >> 16) - widen<kType>(b >> 16));
}
template <Half kType>
std::uint32_t multiply_add_halves(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const auto of = [&](int shift) {
    return static_cast<float>(double{widen<kType>(a >> shift)} * widen<kType>(b >> shift) + widen<kType>(c >> shift));
  };
  return pack_halves<kType>(of(0), of(16));
}
template <Half kType>
std::uint32_t multiply_halves(std::uint32_t a, std::uint32_t b) {
  return pack_halves<kType>(widen<kType>(a) * widen<kType>(b), widen<kType>(a >> 16) * widen<kType>(b >> 16));
}
inline std::uint32_t widen_e4m3(std::uint16_t codes) {
  const auto of = [](unsigned code) { return to_float(E4M3{static_cast<std::uint8_t>(code)}); };
  return pack_halves<Half::kF16>(of(codes & 0xffU), of(codes >> 8));
}
inline float2 widen_f16(std::uint32_t word) { return {widen<Half::kF16>(word), widen<Half::kF16>(word >> 16)}; }

inline void store_release(std::uint32_t* p, std::uint32_t value) { *p = value; }
inline void add_release(std::uint32_t* p, std::uint32_t value) { *p += value; }
inline std::uint32_t load_acquire(const std::uint32_t* p) {
  cuda_emulation::wait_for_others();
  return *p;
}
inline std::uint32_t keep_value(std::uint32_t x) { return x; }
inline int thread_here() { return static_cast<int>(threadIdx.x); }
template <int kThreads>
void barrier_sync(int barrier) {
  cuda_emulation::meet_at(barrier, kThreads, true);
}
template <int kThreads>
void barrier_arrive_only(int barrier) {
  cuda_emulation::meet_at(barrier, kThreads, false);
}

}  // namespace awq::kernels::cuda::ptx
