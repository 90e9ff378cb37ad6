#include "kernels/api/cuda_types.h"

namespace awq::kernels::cuda {
namespace {
bool allowed = true;
}  // namespace

void allow_overlap(bool on) { allowed = on; }
bool overlap_allowed() { return allowed; }

}  // namespace awq::kernels::cuda
