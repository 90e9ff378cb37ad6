#pragma once

#include <cuda.h>

/// What the emulated device of compute capability 9.0 has beside the others. Addresses are offsets from the block's
/// dynamic memory.
namespace cuda_emulation {

/// Barriers that count arrivals and bytes.
void barrier_init(std::uint32_t barrier, std::uint32_t arrivals);
/// Arrives, and lets the phase wait for `bytes` more.
void barrier_arrive(std::uint32_t barrier, std::uint32_t bytes = 0);
void barrier_arrive_remote(std::uint32_t barrier, std::uint32_t rank);
void barrier_wait(std::uint32_t barrier, std::uint32_t parity);

/// Copies of the bulk engine: one half of them, by lot, at once, the others when nothing else of the block can go on
/// and somebody waits for their barrier. So a missing wait shows on either side.
void copy_bulk(std::uint32_t to, const void* from, std::uint32_t bytes, std::uint32_t barrier);
/// A box of a matrix at column c0, row c1, to the blocks of the cluster whose bits are set.
void copy_box(std::uint32_t to, const CUtensorMap& map, int c0, int c1, std::uint32_t barrier, std::uint32_t blocks);

unsigned cluster_rank();
void wait_for_cluster();
std::uint8_t* shared_memory_of(std::uint32_t rank);

/// D [64, tokens] = A B or D + A B, warp by warp: `d` and `a` are this thread's registers, `b` the descriptor of a tile
/// of halves. Between issue and wait nobody may touch any of them: `d` holds numbers that are none meanwhile, and the
/// wait looks whether `a` and `b` are what they were. Sums are those of ptx::mma().
void products_fence();
void multiply(float* d, unsigned tokens, bool bf16, const std::uint32_t* a, std::uint64_t b, bool accumulate);
void products_commit();
void products_wait(int pending);

}  // namespace cuda_emulation
