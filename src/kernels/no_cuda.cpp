// What a build without CUDA has in place of the kernels for NVIDIA devices. Nothing reaches them: layer `device`
// refuses to open one.

#include "kernels/api/cuda_chain.h"
#include "kernels/api/cuda_linear.h"
#include "kernels/api/cuda_measure.h"
#include "kernels/api/cuda_token.h"

namespace awq::kernels::cuda {
namespace {

constexpr int kNotSupported = 801;  // cudaErrorNotSupported
constexpr const char* kReason = "this build has no CUDA support";
constexpr const char* kNoNames[] = {nullptr};

}  // namespace

int built_capability(int) { return 0; }
const char* type_objection(Half) { return kReason; }
std::uint64_t w4_workspace_bytes(const W4Layout&, std::int64_t) { return 0; }
int w4_linear(const W4Problem&, Stream, int) { return kNotSupported; }
const char* const* w4_kernel_names() { return kNoNames; }
const char* w4_kernel_objection(const W4Problem&, int) { return kReason; }
int w4_choice(const W4Problem&) { return -1; }
bool w4_chain_pays() { return false; }
const char* w4_chain_objection(const W4Chain&) { return kReason; }
int w4_chain(const W4Chain&, Stream) { return kNotSupported; }
int w4_expand(const W4Layout&, Half, const void*, const float*, void*, Stream) { return kNotSupported; }
bool w4_panel_pays(const W4Layout&, std::int64_t) { return false; }
int dense_linear(const DenseProblem&, Stream) { return kNotSupported; }

int fill_normal(Half, void*, std::int64_t, float, std::uint32_t, Stream) { return kNotSupported; }
int fill_stream(const W4Layout&, void*, std::uint32_t, Stream) { return kNotSupported; }
int copy_by_kernel(void*, const void*, std::int64_t, Stream) { return kNotSupported; }
int count_different(const void*, const void*, std::int64_t, std::uint32_t*, Stream) { return kNotSupported; }

int embed(Half, const void*, const std::int32_t*, std::int64_t, std::int64_t, float*, Stream) { return kNotSupported; }
int gather_rows(void*, const void*, const std::int32_t*, std::int64_t, std::int64_t, Stream) { return kNotSupported; }
int rms_norm(Half, const float*, const std::int32_t*, const float*, float, std::int64_t, std::int64_t, void*, Stream) {
  return kNotSupported;
}
int add_rms_norm(Half, float*, const void*, const float*, float, std::int64_t, std::int64_t, void*, Stream) {
  return kNotSupported;
}
int silu_multiply(Half, const void*, std::int64_t, std::int64_t, void*, Stream) { return kNotSupported; }
int rope_and_store(Half, void*, std::int32_t, const SequenceBatch&, const Rotation&, const KvBlocks&, Stream) {
  return kNotSupported;
}
int rotate_and_attend(const AttentionProblem&, const Rotation&, const SequenceBatch&, const KvBlocks&, void*, Stream) {
  return kNotSupported;
}
std::uint64_t attention_workspace_bytes(std::int32_t, std::int32_t, std::int32_t, std::int32_t, std::int32_t) {
  return 0;
}
int attention(const AttentionProblem&, const SequenceBatch&, const KvBlocks&, void*, Stream) { return kNotSupported; }
int argmax(const float*, std::int64_t, std::int64_t, std::int32_t*, Stream) { return kNotSupported; }
int draw(const float*, const std::int32_t*, const DrawRule*, std::int64_t, std::int64_t, std::int32_t*, Stream) {
  return kNotSupported;
}

}  // namespace awq::kernels::cuda
