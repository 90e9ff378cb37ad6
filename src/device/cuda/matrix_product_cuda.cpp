#include "device/matrix_product.h"

#include <fmt/format.h>

#include <bit>
#include <map>
#include <memory>

#include "device/cuda/lt_plan.h"

namespace awq::device {
namespace {

/// The largest power of two up to 256 that divides an address.
std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 256U;
  return std::uint32_t{1} << std::countr_zero(address);
}

struct Key {
  MatrixShape shape;
  std::uint32_t align_a, align_b, align_c;
  auto operator<=>(const Key&) const = default;
};

// The library counts columns first: what is row-major [r, c] for us is [c, r] for it. So it computes
// c^T = op(b)^T op(a)^T, where a matrix that lies as it is read needs no transposition.
LtProduct product_of(const Key& key) {
  const MatrixShape& s = key.shape;
  const cudaDataType_t type = s.bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const auto m = static_cast<std::uint64_t>(s.m), n = static_cast<std::uint64_t>(s.n),
             k = static_cast<std::uint64_t>(s.k);
  return {.a = {.type = type,
                .rows = s.transpose_b ? k : n,
                .columns = s.transpose_b ? n : k,
                .ld = s.ldb,
                .alignment = key.align_b},
          .b = {.type = type,
                .rows = s.transpose_a ? m : k,
                .columns = s.transpose_a ? k : m,
                .ld = s.lda,
                .alignment = key.align_a},
          .c = {.type = CUDA_R_32F, .rows = n, .columns = m, .ld = s.ldc, .alignment = key.align_c},
          .transpose_a = s.transpose_b,
          .transpose_b = s.transpose_a,
          .shape = fmt::format("[{}, {}] and [{}, {}]", s.m, s.k, s.k, s.n)};
}

}  // namespace

struct MatrixProduct::Impl {
  // Shapes depend on the model's alone; the bound is for the process that meets many models.
  static constexpr std::size_t kMostPlans = 8192;

  explicit Impl(void* scratch) : workspace(scratch) { check_blas(cublas_lt().create(&handle), "cublasLtCreate"); }
  ~Impl() {
    plans.clear();
    cublas_lt().destroy(handle);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  LtPlan& plan_for(const Key& key) {
    if (const auto found = plans.find(key); found != plans.end()) return *found->second;
    if (plans.size() >= kMostPlans) plans.clear();
    return *plans.emplace(key, std::make_unique<LtPlan>(handle, product_of(key), kWorkspaceBytes)).first->second;
  }

  cublasLtHandle_t handle = nullptr;
  void* workspace;
  std::map<Key, std::unique_ptr<LtPlan>> plans;
};

MatrixProduct::MatrixProduct(void* workspace) : impl_(std::make_unique<Impl>(workspace)) {}
MatrixProduct::~MatrixProduct() = default;

void MatrixProduct::run(const MatrixShape& shape, float alpha, const void* a, const void* b, float beta, float* c,
                        const Stream& stream) {
  if (shape.m == 0 || shape.n == 0) return;
  const Key key{.shape = shape, .align_a = alignment_of(a), .align_b = alignment_of(b), .align_c = alignment_of(c)};
  const LtPlan::Operands operands{.a = b, .b = a, .c = c, .alpha = alpha, .beta = beta};
  impl_->plan_for(key).run(operands, impl_->workspace, stream);
}

}  // namespace awq::device
