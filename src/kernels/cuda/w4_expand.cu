#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/token_device.cuh"
#include "kernels/cuda/w4_dequant.cuh"
#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_stream.h"

/// The stream back to a row-major matrix of 16-bit numbers, for products of many tokens by another library.
namespace awq::kernels::cuda {
namespace {

constexpr unsigned kThreads = 256;  ///< a warp for each slab of a step

struct ExpandArgs {
  const std::uint8_t* weight;
  const float* bias;     ///< [n] or null
  std::uint16_t* panel;  ///< [n, k], then the bias
  std::int64_t n, k;
  std::int32_t steps;
};

/// Block b expands step b of the stream. Lane 4 g + c writes inputs 8 c to 8 c + 7 of every 32 of rows g and g + 8, so
/// that four lanes write 64 consecutive bytes; for that it reads one word from each of four lanes' vectors.
template <Half kType, int kGroup>
__global__ void __launch_bounds__(kThreads) w4_expand_kernel(const ExpandArgs args) {
  constexpr int kGroups = 128 / kGroup;
  constexpr int kSlab = (1024 + 40 * kGroups + 15) / 16 * 16;
  ptx::wait_for_earlier_kernel();  // it may be the product that reads the panel
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int g = lane >> 2;
  const int c = lane & 3;
  const std::int64_t strip = blockIdx.x / static_cast<unsigned>(args.steps);
  const std::int64_t step = blockIdx.x % static_cast<unsigned>(args.steps);
  const std::int64_t row = strip * 128 + warp * 16 + g;
  const std::uint8_t* slab = args.weight + (static_cast<std::int64_t>(blockIdx.x) * 8 + warp) * kSlab;
  std::uint32_t words[2][2][4];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const int at = h * 512 + (4 * g + t) * 16 + (2 * i + (c >> 1)) * 4;
        words[h][i][t] = *reinterpret_cast<const std::uint32_t*>(slab + at);
      }
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int first = h * 64 + i * 32;  // of the step's inputs; a group is a multiple of 32
      const std::uint8_t* scales = slab + 1024 + first / kGroup * 32;
      const std::uint8_t* zeros = slab + 1024 + kGroups * 32 + first / kGroup * 8;
      const float2 scale = group_scales<kType>(*reinterpret_cast<const std::uint32_t*>(scales + 4 * g));
      const ZeroConstants zero = zero_constants<kType>(zeros[g]);
      std::uint32_t low[4];
      std::uint32_t high[4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        std::uint32_t a[4];
        expand_codes<kType>(words[h][i][t] >> (8 * (c & 1)), zero, a);
        const float2 of_low = unpack_halves<kType>(a[0]);
        const float2 of_high = unpack_halves<kType>(a[1]);
        // The product is exact in binary32: one rounding in all.
        low[t] = ptx::pack_halves<kType>(scale.x * of_low.x, scale.x * of_low.y);
        high[t] = ptx::pack_halves<kType>(scale.y * of_high.x, scale.y * of_high.y);
      }
      const std::int64_t input = step * 128 + first + 8 * c;
      if (input >= args.k) continue;
      std::uint16_t* to = args.panel + row * args.k + input;
      if (row < args.n) *reinterpret_cast<uint4*>(to) = make_uint4(low[0], low[1], low[2], low[3]);
      if (row + 8 < args.n) *reinterpret_cast<uint4*>(to + 8 * args.k) = make_uint4(high[0], high[1], high[2], high[3]);
    }
  }
  if (args.bias != nullptr && step == 0 && threadIdx.x < 128) {
    const std::int64_t of_bias = strip * 128 + threadIdx.x;
    if (of_bias < args.n) args.panel[args.n * args.k + of_bias] = ptx::to_half<kType>(args.bias[of_bias]);
  }
}

template <Half kType>
int launch_expand(const W4Layout& layout, const ExpandArgs& args, Stream stream) {
  const dim3 grid(static_cast<unsigned>(layout.strips() * layout.steps()));
  switch (layout.step_groups()) {
    case 4:
      return launch(w4_expand_kernel<kType, 32>, grid, kThreads, 0, stream, 1, args);
    case 2:
      return launch(w4_expand_kernel<kType, 64>, grid, kThreads, 0, stream, 1, args);
    default:
      return launch(w4_expand_kernel<kType, 128>, grid, kThreads, 0, stream, 1, args);
  }
}

}  // namespace

int w4_expand(const W4Layout& layout, Half type, const void* weight, const float* bias, void* panel, Stream stream) {
  if (!is_aligned(panel, 16) || layout.k % 8 != 0) return cudaErrorInvalidValue;
  const ExpandArgs args = {
      static_cast<const std::uint8_t*>(weight), bias, static_cast<std::uint16_t*>(panel), layout.n, layout.k,
      static_cast<std::int32_t>(layout.steps())};
  return for_half(type, [&]<Half kType>() { return launch_expand<kType>(layout, args, stream); });
}

}  // namespace awq::kernels::cuda
