#pragma once

#include <cuda_runtime.h>

#include <string_view>

// The driver's maps of matrices, as far as the kernels use them: boxes of halves, swizzled by 128 bytes.

using cuuint32_t = std::uint32_t;
using cuuint64_t = std::uint64_t;
enum CUresult { CUDA_SUCCESS, CUDA_ERROR_INVALID_VALUE };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_128B };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_256B };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };

struct CUtensorMap {
  const std::uint8_t* data;
  std::int64_t columns, rows, pitch;  // pitch in bytes
  std::uint32_t box_columns, box_rows;
};

namespace cuda_emulation {

inline CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data,
                             const cuuint64_t* sizes, const cuuint64_t* pitches, const cuuint32_t* box,
                             const cuuint32_t* steps, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                             CUtensorMapFloatOOBfill) {
  const bool good = rank == 2 && reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && pitches[0] % 16 == 0 &&
                    sizes[0] != 0 && sizes[1] != 0 && box[0] == 64 && box[1] != 0 && box[1] <= 256 && steps[0] == 1 &&
                    steps[1] == 1;
  if (!good) return CUDA_ERROR_INVALID_VALUE;
  *map = {static_cast<const std::uint8_t*>(data),
          static_cast<std::int64_t>(sizes[0]),
          static_cast<std::int64_t>(sizes[1]),
          static_cast<std::int64_t>(pitches[0]),
          box[0],
          box[1]};
  return CUDA_SUCCESS;
}

}  // namespace cuda_emulation

enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess, cudaDriverEntryPointSymbolNotFound };
inline constexpr unsigned long long cudaEnableDefault = 0;
inline cudaError_t cudaGetDriverEntryPoint(std::string_view name, void** entry, unsigned long long,
                                           cudaDriverEntryPointQueryResult* found) {
  const bool known = name == "cuTensorMapEncodeTiled";
  *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  if (known) *entry = reinterpret_cast<void*>(cuda_emulation::encode_tiled);
  return cudaSuccess;
}
