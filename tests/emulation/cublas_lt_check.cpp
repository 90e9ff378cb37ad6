// DenseProduct and MatrixProduct as they ask cublasLt for products, with a library in its place that multiplies on the
// processor by cublasLt's rules: columns first, transposed where the descriptor says so. Status 1 on any failure.

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "device/cuda/cublas_lt.h"
#include "device/dense_product.h"
#include "device/matrix_product.h"

namespace awq::device {
namespace {

struct FakeLayout {
  cudaDataType_t type;
  std::int64_t rows, columns, ld;
};
struct FakeProduct {
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  cudaDataType_t bias_type = CUDA_R_32F;
  const void* bias = nullptr;
};
struct FakePreference {
  std::uint64_t workspace = 0;
  std::uint32_t alignment[4] = {};
};
/// What the algorithm was chosen for: the product has to keep it.
struct FakeAlgorithm {
  std::uint32_t alignment[3];
  std::uint64_t workspace;
};
static_assert(sizeof(FakeAlgorithm) <= sizeof(cublasLtMatmulAlgo_t));

int live_objects = 0;
int broken_promises = 0;  // alignments or workspace other than those that the algorithm was chosen for

template <typename Handle, typename Fake>
Handle make(Fake fake) {
  ++live_objects;
  return reinterpret_cast<Handle>(new Fake(fake));
}
template <typename Fake, typename Handle>
cublasStatus_t destroy(Handle handle) {
  --live_objects;
  delete reinterpret_cast<Fake*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
double read(const FakeLayout& m, const void* data, std::int64_t row, std::int64_t column) {
  const std::int64_t at = column * m.ld + row;
  if (m.type == CUDA_R_32F) return static_cast<double>(static_cast<const float*>(data)[at]);
  const auto bits = static_cast<const std::uint16_t*>(data)[at];
  return static_cast<double>(m.type == CUDA_R_16F ? to_float(F16{bits}) : to_float(Bf16{bits}));
}
void write(const FakeLayout& m, void* data, std::int64_t row, std::int64_t column, double value) {
  const std::int64_t at = column * m.ld + row;
  const auto v = static_cast<float>(value);
  if (m.type == CUDA_R_32F) {
    static_cast<float*>(data)[at] = v;
  } else {
    static_cast<std::uint16_t*>(data)[at] = m.type == CUDA_R_16F ? to_f16(v).bits : to_bf16(v).bits;
  }
}
template <typename Layout>
FakeLayout& layout_of(Layout layout) {
  return *reinterpret_cast<FakeLayout*>(layout);
}

cublasStatus_t multiply(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha, const void* a,
                        cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                        const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                        cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* /*workspace*/,
                        std::size_t workspace_bytes, cudaStream_t) {
  const auto& p = *reinterpret_cast<const FakeProduct*>(product);
  FakeAlgorithm chosen;
  std::memcpy(&chosen, algorithm, sizeof(chosen));
  const void* operands[] = {a, b, d};
  for (int i = 0; i < 3; ++i) {
    if (reinterpret_cast<std::uintptr_t>(operands[i]) % chosen.alignment[i] != 0) ++broken_promises;
  }
  if (workspace_bytes < chosen.workspace || c != d) ++broken_promises;
  const FakeLayout &ma = layout_of(a_layout), &mb = layout_of(b_layout), &mc = layout_of(c_layout),
                   &md = layout_of(d_layout);
  const bool ta = p.transpose_a == CUBLAS_OP_T, tb = p.transpose_b == CUBLAS_OP_T;
  const std::int64_t depth = ta ? ma.rows : ma.columns;
  if (depth != (tb ? mb.columns : mb.rows) || md.rows != (ta ? ma.columns : ma.rows) ||
      md.columns != (tb ? mb.rows : mb.columns)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  for (std::int64_t column = 0; column < md.columns; ++column) {
    for (std::int64_t row = 0; row < md.rows; ++row) {
      double sum = 0;
      for (std::int64_t k = 0; k < depth; ++k) {
        sum +=
            (ta ? read(ma, a, k, row) : read(ma, a, row, k)) * (tb ? read(mb, b, column, k) : read(mb, b, k, column));
      }
      sum *= static_cast<double>(*static_cast<const float*>(alpha));
      const auto kept = static_cast<double>(*static_cast<const float*>(beta));
      if (kept != 0) sum += kept * read(mc, c, row, column);
      if (p.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += read({p.bias_type, md.rows, 1, md.rows}, p.bias, row, 0);
      write(md, d, row, column, sum);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_of_product(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, const void* value,
                              std::size_t) {
  auto& p = *reinterpret_cast<FakeProduct*>(product);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      p.transpose_a = *static_cast<const cublasOperation_t*>(value);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      p.transpose_b = *static_cast<const cublasOperation_t*>(value);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      p.epilogue = *static_cast<const cublasLtEpilogue_t*>(value);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      p.bias_type = *static_cast<const cudaDataType_t*>(value);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      p.bias = *static_cast<const void* const*>(value);
      break;
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t set_of_preference(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                                 const void* value, std::size_t) {
  auto& p = *reinterpret_cast<FakePreference*>(preference);
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
    p.workspace = *static_cast<const std::uint64_t*>(value);
    return CUBLAS_STATUS_SUCCESS;
  }
  const int index = static_cast<int>(attribute) - static_cast<int>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  if (index < 0 || index > 3) return CUBLAS_STATUS_NOT_SUPPORTED;
  p.alignment[index] = *static_cast<const std::uint32_t*>(value);
  return CUBLAS_STATUS_SUCCESS;
}

/// Has no algorithm for a product of 13 columns.
cublasStatus_t choose(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t b,
                      cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference, int,
                      cublasLtMatmulHeuristicResult_t* result, int* found) {
  const auto& p = *reinterpret_cast<const FakePreference*>(preference);
  *found = layout_of(b).columns == 13 ? 0 : 1;
  const FakeAlgorithm algorithm = {{p.alignment[0], p.alignment[1], p.alignment[3]}, p.workspace};
  std::memcpy(&result->algo, &algorithm, sizeof(algorithm));
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

const CublasLt& cublas_lt() {
  static const CublasLt kFake = [] {
    CublasLt out;
    out.create = [](cublasLtHandle_t* to) {
      *to = make<cublasLtHandle_t>(0);
      return CUBLAS_STATUS_SUCCESS;
    };
    out.destroy = [](cublasLtHandle_t handle) { return destroy<int>(handle); };
    out.matmul = multiply;
    out.desc_create = [](cublasLtMatmulDesc_t* to, cublasComputeType_t, cudaDataType_t) {
      *to = make<cublasLtMatmulDesc_t>(FakeProduct{});
      return CUBLAS_STATUS_SUCCESS;
    };
    out.desc_destroy = [](cublasLtMatmulDesc_t product) { return destroy<FakeProduct>(product); };
    out.desc_set = set_of_product;
    out.layout_create = [](cublasLtMatrixLayout_t* to, cudaDataType_t type, std::uint64_t rows, std::uint64_t columns,
                           std::int64_t ld) {
      *to = make<cublasLtMatrixLayout_t>(
          FakeLayout{type, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns), ld});
      return CUBLAS_STATUS_SUCCESS;
    };
    out.layout_destroy = [](cublasLtMatrixLayout_t layout) { return destroy<FakeLayout>(layout); };
    out.preference_create = [](cublasLtMatmulPreference_t* to) {
      *to = make<cublasLtMatmulPreference_t>(FakePreference{});
      return CUBLAS_STATUS_SUCCESS;
    };
    out.preference_destroy = [](cublasLtMatmulPreference_t p) { return destroy<FakePreference>(p); };
    out.preference_set = set_of_preference;
    out.heuristic = choose;
    return out;
  }();
  return kFake;
}

void check_blas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(ErrorCode::kDevice, "{}: {}", what, static_cast<int>(status));
}

Stream::Stream() = default;
Stream::~Stream() = default;

namespace {

int failures = 0;

void expect(bool good, const std::string& what) {
  if (good) return;
  ++failures;
  fmt::print("FAIL {}\n", what);
}

std::vector<float> numbers(std::int64_t count, std::uint64_t seed) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back((static_cast<float>(random_bits(seed, static_cast<std::uint64_t>(i)) % 65) - 32) / 16);
  }
  return out;
}
/// Small multiples of 1/16 are the same in every type, and so are sums of few of their products in binary32.
std::vector<std::uint16_t> halves(const std::vector<float>& from, bool f16) {
  std::vector<std::uint16_t> out;
  for (const float v : from) out.push_back(f16 ? to_f16(v).bits : to_bf16(v).bits);
  return out;
}

void check_dense(const Stream& stream) {
  using kernels::cuda::Half;
  DenseProduct product(nullptr);
  constexpr std::int64_t kN = 7, kK = 11;
  std::size_t shapes = 0;
  for (const bool f16 : {false, true}) {
    for (const bool float_output : {false, true}) {
      for (const bool has_bias : {false, true}) {
        for (const std::int64_t m : {1, 5}) {
          const std::vector<float> x = numbers(m * kK, 1), w = numbers(kN * kK, 2), bias = numbers(kN, 3);
          alignas(256) std::uint16_t hx[64], hw[128];
          alignas(256) float y[64];
          alignas(256) std::uint16_t hy[64];
          const auto from_x = halves(x, f16), from_w = halves(w, f16), from_bias = halves(bias, f16);
          std::copy(from_x.begin(), from_x.end(), hx);
          std::copy(from_w.begin(), from_w.end(), hw);
          const void* of_bias = float_output ? static_cast<const void*>(bias.data()) : from_bias.data();
          const DenseShape shape{.type = f16 ? Half::kF16 : Half::kBf16,
                                 .m = m,
                                 .n = kN,
                                 .k = kK,
                                 .float_output = float_output,
                                 .has_bias = has_bias};
          for (int twice = 0; twice < 2; ++twice) {
            product.run(shape, hx, hw, has_bias ? of_bias : nullptr, float_output ? static_cast<void*>(y) : hy, stream);
          }
          ++shapes;
          bool good = product.shapes() == shapes;
          for (std::int64_t i = 0; i < m * kN; ++i) {
            float sum = has_bias ? bias[static_cast<std::size_t>(i % kN)] : 0;
            for (std::int64_t k = 0; k < kK; ++k) {
              sum += x[static_cast<std::size_t>(i / kN * kK + k)] * w[static_cast<std::size_t>(i % kN * kK + k)];
            }
            good = good && (float_output ? y[i] == sum : hy[i] == (f16 ? to_f16(sum).bits : to_bf16(sum).bits));
          }
          expect(good, fmt::format("x W^T, f16 {}, float output {}, bias {}, {} rows", f16, float_output, has_bias, m));
        }
      }
    }
  }
  try {
    product.run({.m = 13, .n = kN, .k = kK}, nullptr, nullptr, nullptr, nullptr, stream);
    expect(false, "a product that the library has no algorithm for");
  } catch (const Error& error) {
    expect(error.code() == ErrorCode::kDevice && error.message().find("[13, 11] and [7, 11]") != std::string::npos &&
               product.shapes() == shapes,
           error.message());
  }
}

void check_matrix(const Stream& stream) {
  MatrixProduct product(nullptr);
  constexpr std::int64_t kM = 3, kN = 5, kK = 4, kPad = 2;
  for (const bool bf16 : {false, true}) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        for (const float beta : {0.0F, 1.0F}) {
          const MatrixShape s{.bf16 = bf16,
                              .transpose_a = ta,
                              .transpose_b = tb,
                              .m = kM,
                              .n = kN,
                              .k = kK,
                              .lda = (ta ? kM : kK) + kPad,
                              .ldb = (tb ? kK : kN) + kPad,
                              .ldc = kN + kPad};
          const std::vector<float> a = numbers((ta ? kK : kM) * s.lda, 4), b = numbers((tb ? kN : kK) * s.ldb, 5);
          std::vector<float> c = numbers(kM * s.ldc + 1, 6);
          const std::vector<float> before = c;
          const auto ha = halves(a, false), hb = halves(b, false);
          float* const to = c.data() + 1;  // of another alignment than the others
          product.run(s, 0.5F, bf16 ? static_cast<const void*>(ha.data()) : a.data(),
                      bf16 ? static_cast<const void*>(hb.data()) : b.data(), beta, to, stream);
          bool good = true;
          for (std::int64_t i = 0; i < kM; ++i) {
            for (std::int64_t j = 0; j < s.ldc; ++j) {
              const auto at = static_cast<std::size_t>(i * s.ldc + j);
              float sum = 0;
              for (std::int64_t k = 0; k < kK && j < kN; ++k) {
                sum += a[static_cast<std::size_t>(ta ? k * s.lda + i : i * s.lda + k)] *
                       b[static_cast<std::size_t>(tb ? j * s.ldb + k : k * s.ldb + j)];
              }
              const float expected = j < kN ? 0.5F * sum + (beta == 0 ? 0 : before[at + 1]) : before[at + 1];
              good = good && to[at] == expected;
            }
          }
          expect(good, fmt::format("op(a) op(b), bf16 {}, transposed {} {}, beta {}", bf16, ta, tb, beta));
        }
      }
    }
  }
}

}  // namespace
}  // namespace awq::device

int main() {
  using namespace awq::device;
  const Stream stream;
  check_dense(stream);
  check_matrix(stream);
  expect(broken_promises == 0, fmt::format("{} operands other than the algorithm was chosen for", broken_promises));
  expect(live_objects == 0, fmt::format("{} objects of the library are left", live_objects));
  fmt::print("{} failures\n", failures);
  return failures == 0 ? 0 : 1;
}
