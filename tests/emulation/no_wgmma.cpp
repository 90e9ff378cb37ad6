// In place of the kernels with Hopper's matrix instructions, in programs that are about others.

#include "kernels/cuda/w4_kernels.h"

namespace awq::kernels::cuda {

const char* wgmma_objection(const W4Problem&, const DeviceLimits&) { return "is not part of this program"; }
std::uint64_t wgmma_workspace(const W4Layout&, std::int64_t, const DeviceLimits&) { return 0; }
int wgmma_run(const W4Problem&, const DeviceLimits&, Stream, int, bool) { return 1; }
const char* wide_objection(const W4Problem&, const DeviceLimits&, int, int) { return "is not part of this program"; }
std::uint64_t wide_workspace(const W4Layout&, std::int64_t, const DeviceLimits&, int, int) { return 0; }
int wide_run(const W4Problem&, const DeviceLimits&, Stream, int, int) { return 1; }
const char* many_objection(const W4Problem&, const DeviceLimits&, int) { return "is not part of this program"; }
std::uint64_t many_workspace(const W4Layout&, std::int64_t, const DeviceLimits&, int) { return 0; }
int many_run(const W4Problem&, const DeviceLimits&, Stream, int) { return 1; }

}  // namespace awq::kernels::cuda
