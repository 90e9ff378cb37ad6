#include "device/matrix_product.h"

#include <algorithm>
#include <bit>
#include <map>

#include "base/check.h"
#include "device/cuda/cublas_lt.h"

namespace awq::device {
namespace {

/// The largest power of two up to 256 that divides an address.
std::uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer) | 256U;
  return std::uint32_t{1} << std::countr_zero(address);
}

}  // namespace

struct MatrixProduct::Impl {
  struct Key {
    MatrixShape shape;
    std::uint32_t align_a, align_b, align_c;
    auto operator<=>(const Key&) const = default;
  };
  /// A shape with its descriptors and its algorithm.
  struct Plan {
    explicit Plan(const CublasLt& library) : lt(library) {}
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;
    ~Plan() {
      if (a != nullptr) lt.layout_destroy(a);
      if (b != nullptr) lt.layout_destroy(b);
      if (c != nullptr) lt.layout_destroy(c);
      if (product != nullptr) lt.desc_destroy(product);
    }
    const CublasLt& lt;
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  // Shapes depend on the model's alone; the bound is for the process that meets many models.
  static constexpr std::size_t kMostPlans = 8192;

  explicit Impl(void* scratch) : lt(cublas_lt()), workspace(scratch) {
    check_blas(lt.create(&handle), "cublasLtCreate");
  }
  ~Impl() {
    plans.clear();
    lt.destroy(handle);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // The library counts columns first: what is row-major [r, c] for us is [c, r] for it. So it computes
  // c^T = op(b)^T op(a)^T, where a matrix that lies as it is read needs no transposition.
  void describe(const MatrixShape& s, Plan& plan) const {
    const cudaDataType_t type = s.bf16 ? CUDA_R_16BF : CUDA_R_32F;
    check_blas(lt.desc_create(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      check_blas(lt.desc_set(plan.product, attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    const auto m = static_cast<std::uint64_t>(s.m), n = static_cast<std::uint64_t>(s.n),
               k = static_cast<std::uint64_t>(s.k);
    check_blas(lt.layout_create(&plan.b, type, s.transpose_b ? k : n, s.transpose_b ? n : k, s.ldb),
               "cublasLtMatrixLayoutCreate");
    check_blas(lt.layout_create(&plan.a, type, s.transpose_a ? m : k, s.transpose_a ? k : m, s.lda),
               "cublasLtMatrixLayoutCreate");
    check_blas(lt.layout_create(&plan.c, CUDA_R_32F, n, m, s.ldc), "cublasLtMatrixLayoutCreate");
  }

  void choose(const Key& key, Plan& plan) const {
    cublasLtMatmulPreference_t preference = nullptr;
    check_blas(lt.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      if (status == CUBLAS_STATUS_SUCCESS) status = lt.preference_set(preference, attribute, &value, sizeof(value));
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_b);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_a);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_c);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_c);
    if (status == CUBLAS_STATUS_SUCCESS) {
      status = lt.heuristic(handle, plan.product, plan.b, plan.a, plan.c, plan.c, preference, 1, &result, &found);
    }
    lt.preference_destroy(preference);
    check_blas(status, "cublasLtMatmulAlgoGetHeuristic");
    if (found == 0) {
      fail(ErrorCode::kDevice, "cublasLt has no algorithm for a product of [{}, {}] and [{}, {}]", key.shape.m,
           key.shape.k, key.shape.k, key.shape.n);
    }
    plan.algorithm = result.algo;
  }

  const Plan& plan_for(const Key& key) {
    if (const auto found = plans.find(key); found != plans.end()) return *found->second;
    if (plans.size() >= kMostPlans) plans.clear();
    auto plan = std::make_unique<Plan>(lt);
    describe(key.shape, *plan);
    choose(key, *plan);
    return *plans.emplace(key, std::move(plan)).first->second;
  }

  const CublasLt& lt;
  cublasLtHandle_t handle = nullptr;
  void* workspace;
  std::map<Key, std::unique_ptr<Plan>> plans;
};

MatrixProduct::MatrixProduct(void* workspace) : impl_(std::make_unique<Impl>(workspace)) {}
MatrixProduct::~MatrixProduct() = default;

void MatrixProduct::run(const MatrixShape& shape, float alpha, const void* a, const void* b, float beta, float* c,
                        const Stream& stream) {
  if (shape.m == 0 || shape.n == 0) return;
  const Impl::Plan& plan = impl_->plan_for(
      {.shape = shape, .align_a = alignment_of(a), .align_b = alignment_of(b), .align_c = alignment_of(c)});
  check_blas(impl_->lt.matmul(impl_->handle, plan.product, &alpha, b, plan.b, a, plan.a, &beta, c, plan.c, c, plan.c,
                              &plan.algorithm, impl_->workspace, kWorkspaceBytes, stream.get()),
             "cublasLtMatmul");
}

}  // namespace awq::device
