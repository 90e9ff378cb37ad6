// Built with AVX-512 for the lanes; the tile instructions are assembly. Kernel headers only.
#include "kernels/cpu/amx/packed_amx.h"

#include "kernels/cpu/amx/packed_amx_tile.h"

namespace awq::kernels::amx {
namespace {

/// A type of this file, so that its instances are shared with no other.
struct Tiles : HardwareTiles {};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  thread_local TileWork work;
  packed_tiles<Tiles, kBits, kPlanes>(args, work, block_begin, block_end, panel_begin, panel_end);
}

// Fewer rows leave the tiles empty: vector instructions are as fast then and need no decoded copy.
constexpr std::int64_t kFewestRows = 8;

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_amx", 4, 1, 4, CpuFeature::kNone, 16, true, kFewestRows, run<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_amx", 4, 2, 4, CpuFeature::kNone, 16, true, kFewestRows, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_amx", 8, 1, 4, CpuFeature::kNone, 16, true, kFewestRows, run<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_amx", 8, 2, 4, CpuFeature::kNone, 16, true, kFewestRows, run<8, 2>};

}  // namespace awq::kernels::amx
