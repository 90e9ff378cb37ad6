#include "device/dense_product.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "device/cuda/lt_plan.h"

namespace awq::device {
namespace {

using kernels::cuda::Half;

// The library counts columns first: what is row-major [m, k] for us is [k, m] for it. So it computes
// y^T [n, m] = W [n, k] x^T [k, m], where W lies as its transposed.
LtProduct product_of(const DenseShape& s) {
  const cudaDataType_t half = s.type == Half::kF16 ? CUDA_R_16F : CUDA_R_16BF;
  const auto m = static_cast<std::uint64_t>(s.m), n = static_cast<std::uint64_t>(s.n),
             k = static_cast<std::uint64_t>(s.k);
  return {.a = {.type = half, .rows = k, .columns = n, .ld = s.k},
          .b = {.type = half, .rows = k, .columns = m, .ld = s.k},
          .c = {.type = s.float_output ? CUDA_R_32F : half, .rows = n, .columns = m, .ld = s.n},
          .transpose_a = true,
          .has_bias = s.has_bias,
          .shape = fmt::format("[{}, {}] and [{}, {}]", s.m, s.k, s.n, s.k)};
}

}  // namespace

struct DenseProduct::Impl {
  explicit Impl(void* scratch) : workspace(scratch) { check_blas(cublas_lt().create(&handle), "cublasLtCreate"); }
  ~Impl() {
    plans.clear();
    cublas_lt().destroy(handle);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  LtPlan& plan_for(const DenseShape& shape) {
    for (auto& [known, plan] : plans) {
      if (known == shape) return *plan;
    }
    return *plans.emplace_back(shape, std::make_unique<LtPlan>(handle, product_of(shape), kWorkspaceBytes)).second;
  }

  cublasLtHandle_t handle = nullptr;
  void* workspace;
  std::vector<std::pair<DenseShape, std::unique_ptr<LtPlan>>> plans;
};

DenseProduct::DenseProduct(void* workspace) : impl_(std::make_unique<Impl>(workspace)) {}
DenseProduct::~DenseProduct() = default;

void DenseProduct::run(const DenseShape& shape, const void* x, const void* weight, const void* bias, void* y,
                       const Stream& stream) {
  const LtPlan::Operands operands{.a = weight, .b = x, .c = y, .bias = shape.has_bias ? bias : nullptr};
  impl_->plan_for(shape).run(operands, impl_->workspace, stream);
}

std::size_t DenseProduct::shapes() const { return impl_->plans.size(); }

}  // namespace awq::device
