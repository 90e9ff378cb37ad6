#pragma once

#include "kernels/cuda/ptx.cuh"

/// Twin of src/kernels/cuda/attention_ptx.cuh for the emulated device.
namespace awq::kernels::cuda {

inline void copy_async(std::uint32_t to, const void* from, bool read) { ptx::copy_async(to, from, read ? 16 : 0); }

inline void load_matrices_transposed(std::uint32_t (&r)[4], std::uint32_t address) {
  using cuda_emulation::own_lane, cuda_emulation::kLaneWords;
  const std::uint32_t* of_lane = cuda_emulation::exchange_words({address});
  const int column = own_lane() / 4, pair = own_lane() % 4;
  for (int i = 0; i < 4; ++i) {
    r[i] = 0;
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t from = of_lane[(8 * i + 2 * pair + half) * kLaneWords] + 2U * column;
      r[i] |= static_cast<std::uint32_t>(*ptx::shared_pointer<const std::uint16_t>(from)) << (16 * half);
    }
  }
}

inline float exp2_approx(float x) { return x < -126 ? 0.0F : std::exp2(x); }

}  // namespace awq::kernels::cuda
