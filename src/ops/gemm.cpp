#include "ops/gemm.h"

#include <omp.h>

#include <atomic>
#include <dnnl.hpp>
#include <map>
#include <tuple>

#include "base/check.h"
#include "base/cpu_features.h"

namespace awq::ops {
namespace {

using dnnl::memory;

std::atomic<int> g_threads{0};  // 0: never configured
std::atomic<int> g_decode_threads{0};

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

/// Strides of a row-major matrix of logical shape [rows, cols], stored transposed when asked.
memory::dims strides(bool transposed, std::int64_t leading) {
  return transposed ? memory::dims{1, leading} : memory::dims{leading, 1};
}

using Key =
    std::tuple<bool, bool, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool>;

struct MatmulPlan {
  dnnl::matmul primitive;
  memory::desc a, b, c;
  memory::desc scratch;
};

MatmulPlan make_plan(const GemmBf16& g) {
  MatmulPlan plan;
  plan.a = memory::desc({g.m, g.k}, memory::data_type::bf16, strides(g.transpose_a, g.lda));
  plan.b = memory::desc({g.k, g.n}, memory::data_type::bf16, strides(g.transpose_b, g.ldb));
  plan.c = memory::desc({g.m, g.n}, memory::data_type::f32, memory::dims{g.ldc, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (g.accumulate) {
    dnnl::post_ops post;
    post.append_sum(1.0F);
    attributes.set_post_ops(post);
  }
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(cpu_engine(), plan.a, plan.b, plan.c, attributes);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(plan.a, plan.b, plan.c), attributes, cpu_engine());
#endif
  plan.scratch = description.scratchpad_desc();
  plan.primitive = dnnl::matmul(description);
  return plan;
}

/// Making a primitive costs as much as a small product, so each thread keeps the ones it used.
const MatmulPlan& plan_for(const GemmBf16& g) {
  thread_local std::map<Key, MatmulPlan> plans;
  const Key key{g.transpose_a, g.transpose_b, g.m, g.n, g.k, g.lda, g.ldb, g.ldc, g.accumulate};
  auto found = plans.find(key);
  if (found == plans.end()) {
    if (plans.size() >= 256) plans.clear();  // bounded: shapes of a batch change from step to step
    found = plans.emplace(key, make_plan(g)).first;
  }
  return found->second;
}

/// What a failure of oneDNN is to the user: lack of memory is his machine's, all else our own bug.
ErrorCode error_code(dnnl_status_t status) {
  return status == dnnl_out_of_memory ? ErrorCode::kOutOfMemory : ErrorCode::kInternal;
}

}  // namespace

void gemm(const GemmF32& g) {
  if (g.m == 0 || g.n == 0) return;
  const dnnl_status_t status = dnnl_sgemm(g.transpose_a ? 'T' : 'N', g.transpose_b ? 'T' : 'N', g.m, g.n, g.k, g.alpha,
                                          g.a, g.lda, g.b, g.ldb, g.beta, g.c, g.ldc);
  if (status != dnnl_success) {
    fail(error_code(status), "oneDNN sgemm {}x{}x{} failed with status {}", g.m, g.n, g.k, static_cast<int>(status));
  }
}

void gemm(const GemmBf16& g) {
  if (g.m == 0 || g.n == 0) return;
  try {
    const MatmulPlan& plan = plan_for(g);
    thread_local dnnl::stream stream(cpu_engine());
    // oneDNN takes non-const handles for inputs too; it does not write to them.
    memory a(plan.a, cpu_engine(), const_cast<Bf16*>(g.a));
    memory b(plan.b, cpu_engine(), const_cast<Bf16*>(g.b));
    memory c(plan.c, cpu_engine(), g.c);
    memory scratch(plan.scratch, cpu_engine());
    plan.primitive.execute(
        stream, {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}, {DNNL_ARG_SCRATCHPAD, scratch}});
    stream.wait();
  } catch (const dnnl::error& error) {
    fail(error_code(error.status), "oneDNN bf16 matmul {}x{}x{}: {}", g.m, g.n, g.k, error.what());
  }
}

void adopt_threads() {
  if (const int threads = g_threads.load(); threads > 0) {
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
  }
}

void enter_phase(Phase phase) {
  const int threads = g_threads.load(), decode_threads = g_decode_threads.load();
  if (threads == decode_threads) return;
  omp_set_num_threads(phase == Phase::kDecode ? decode_threads : threads);
}

void retire_team() { omp_pause_resource(omp_pause_soft, omp_get_initial_device()); }

void configure_threads(int threads, int decode_threads) {
  g_threads = threads;
  g_decode_threads = decode_threads > 0 ? decode_threads : threads;
  adopt_threads();
  switch (active_isa()) {  // the cap has to reach oneDNN too, or its sums would differ from a smaller machine's
    case Isa::kScalar:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
      break;
    case Isa::kAvx2:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
      break;
    case Isa::kAvx512:
      dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core);
      break;
    case Isa::kAvx512Vnni:
      dnnl::set_max_cpu_isa(has_native_bf16() ? dnnl::cpu_isa::avx512_core_bf16 : dnnl::cpu_isa::avx512_core_vnni);
      break;
    case Isa::kAmx:
      break;
  }
}

}  // namespace awq::ops
