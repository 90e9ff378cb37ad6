#include <vector>

#include "base/check.h"
#include "device/cuda/cublas_lt.h"
#include "device/dense_product.h"

namespace awq::device {
namespace {

using kernels::cuda::Half;

cudaDataType_t half_type(Half type) { return type == Half::kF16 ? CUDA_R_16F : CUDA_R_16BF; }

}  // namespace

struct DenseProduct::Impl {
  /// A shape with its descriptors and its algorithm.
  struct Plan {
    DenseShape shape;
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t weight = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };

  explicit Impl(void* scratch) : lt(cublas_lt()), workspace(scratch) {
    check_blas(lt.create(&handle), "cublasLtCreate");
  }
  ~Impl() {
    for (const Plan& plan : plans) {
      lt.layout_destroy(plan.weight);
      lt.layout_destroy(plan.x);
      lt.layout_destroy(plan.y);
      lt.desc_destroy(plan.product);
    }
    lt.destroy(handle);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // The library counts columns first: what is row-major [m, k] for us is [k, m] for it. So it computes
  // y^T [n, m] = W [n, k] x^T [k, m], where W lies as its transposed.
  void describe(Plan& plan) const {
    const DenseShape& s = plan.shape;
    const cudaDataType_t half = half_type(s.type);
    const cudaDataType_t out = s.float_output ? CUDA_R_32F : half;
    check_blas(lt.desc_create(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      check_blas(lt.desc_set(plan.product, attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    if (s.has_bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, out);
    }
    const auto m = static_cast<std::uint64_t>(s.m), n = static_cast<std::uint64_t>(s.n),
               k = static_cast<std::uint64_t>(s.k);
    check_blas(lt.layout_create(&plan.weight, half, k, n, s.k), "cublasLtMatrixLayoutCreate");
    check_blas(lt.layout_create(&plan.x, half, k, m, s.k), "cublasLtMatrixLayoutCreate");
    check_blas(lt.layout_create(&plan.y, out, n, m, s.n), "cublasLtMatrixLayoutCreate");
  }

  void choose(Plan& plan) const {
    cublasLtMatmulPreference_t preference = nullptr;
    check_blas(lt.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    const std::uint64_t bytes = kWorkspaceBytes;
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    cublasStatus_t status =
        lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes));
    if (status == CUBLAS_STATUS_SUCCESS) {
      status = lt.heuristic(handle, plan.product, plan.weight, plan.x, plan.y, plan.y, preference, 1, &result, &found);
    }
    lt.preference_destroy(preference);
    check_blas(status, "cublasLtMatmulAlgoGetHeuristic");
    if (found == 0) {
      fail(ErrorCode::kDevice, "cublasLt has no algorithm for a product of [{}, {}] and [{}, {}]", plan.shape.m,
           plan.shape.k, plan.shape.n, plan.shape.k);
    }
    plan.algorithm = result.algo;
  }

  const Plan& plan_for(const DenseShape& shape) {
    for (const Plan& plan : plans) {
      if (plan.shape == shape) return plan;
    }
    Plan& plan = plans.emplace_back();
    plan.shape = shape;
    try {
      describe(plan);
      choose(plan);
    } catch (...) {
      lt.layout_destroy(plan.weight);
      lt.layout_destroy(plan.x);
      lt.layout_destroy(plan.y);
      lt.desc_destroy(plan.product);
      plans.pop_back();
      throw;
    }
    return plan;
  }

  const CublasLt& lt;
  cublasLtHandle_t handle = nullptr;
  void* workspace;
  std::vector<Plan> plans;
};

DenseProduct::DenseProduct(void* workspace) : impl_(std::make_unique<Impl>(workspace)) {}
DenseProduct::~DenseProduct() = default;

void DenseProduct::run(const DenseShape& shape, const void* x, const void* weight, const void* bias, void* y,
                       const Stream& stream) {
  const Impl::Plan& plan = impl_->plan_for(shape);
  if (shape.has_bias) {
    check_blas(impl_->lt.desc_set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias)),
               "cublasLtMatmulDescSetAttribute");
  }
  const float one = 1, zero = 0;
  check_blas(impl_->lt.matmul(impl_->handle, plan.product, &one, weight, plan.weight, x, plan.x, &zero, y, plan.y, y,
                              plan.y, &plan.algorithm, impl_->workspace, kWorkspaceBytes, stream.get()),
             "cublasLtMatmul");
}

std::size_t DenseProduct::shapes() const { return impl_->plans.size(); }

}  // namespace awq::device
