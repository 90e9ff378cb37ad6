#include "base/check.h"
#include "device/cuda/lt_plan.h"

namespace awq::device {
namespace {

void lay_out(const LtMatrix& matrix, cublasLtMatrixLayout_t& layout) {
  check_blas(cublas_lt().layout_create(&layout, matrix.type, matrix.rows, matrix.columns, matrix.ld),
             "cublasLtMatrixLayoutCreate");
}

}  // namespace

LtPlan::LtPlan(cublasLtHandle_t handle, const LtProduct& product, std::uint64_t workspace_bytes)
    : handle_(handle), workspace_bytes_(workspace_bytes) {
  try {
    check_blas(cublas_lt().desc_create(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      check_blas(cublas_lt().desc_set(product_, attribute, &value, sizeof(value)), "cublasLtMatmulDescSetAttribute");
    };
    set(CUBLASLT_MATMUL_DESC_TRANSA, product.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, product.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (product.has_bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, product.c.type);
    }
    lay_out(product.a, a_);
    lay_out(product.b, b_);
    lay_out(product.c, c_);
    choose(product);
  } catch (...) {
    destroy();
    throw;
  }
}

LtPlan::~LtPlan() { destroy(); }

void LtPlan::destroy() {
  const CublasLt& lt = cublas_lt();
  for (const cublasLtMatrixLayout_t layout : {a_, b_, c_}) {
    if (layout != nullptr) lt.layout_destroy(layout);
  }
  if (product_ != nullptr) lt.desc_destroy(product_);
}

void LtPlan::choose(const LtProduct& product) {
  const CublasLt& lt = cublas_lt();
  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(lt.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    if (status == CUBLAS_STATUS_SUCCESS) status = lt.preference_set(preference, attribute, &value, sizeof(value));
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes_);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, product.a.alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, product.b.alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, product.c.alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, product.c.alignment);
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = lt.heuristic(handle_, product_, a_, b_, c_, c_, preference, 1, &result, &found);
  }
  lt.preference_destroy(preference);
  check_blas(status, "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0) fail(ErrorCode::kDevice, "cublasLt has no algorithm for a product of {}", product.shape);
  algorithm_ = result.algo;
}

void LtPlan::run(const Operands& operands, void* workspace, const Stream& stream) {
  const CublasLt& lt = cublas_lt();
  if (operands.bias != nullptr) {
    check_blas(lt.desc_set(product_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &operands.bias, sizeof(operands.bias)),
               "cublasLtMatmulDescSetAttribute");
  }
  check_blas(lt.matmul(handle_, product_, &operands.alpha, operands.a, a_, operands.b, b_, &operands.beta, operands.c,
                       c_, operands.c, c_, &algorithm_, workspace, workspace_bytes_, stream.get()),
             "cublasLtMatmul");
}

}  // namespace awq::device
