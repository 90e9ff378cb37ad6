// Eight outputs a vector with vpdpbusd on 256 bits. Included inside the unnamed namespace of a file that defines the
// Dot of vnni_vector.h.

#include "kernels/cpu/packed_lanes256.h"

#include "kernels/cpu/vnni_vector.h"

struct Vector256 : VnniVector<Lanes256, Dot> {
  static constexpr int kPrefetch = 128;
  static constexpr int stream_rows(int bits) { return bits == 4 ? 1 : 2; }
};

template <int kBits, int kPlanes>
void run256(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
            std::int64_t panel_end) noexcept {
  packed_run<Vector256, kBits, kPlanes, 4, 2, kPlanes == 1 ? 4 : 2, kPlanes == 1 ? 4 : 2>(args, block_begin, block_end,
                                                                                          panel_begin, panel_end);
}
