#include "ops/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/cpu_features.h"
#include "support/random.h"
#include "tolerances.h"

namespace awq::ops {
namespace {

struct Case {
  std::int64_t m, n, k, pad;  ///< pad: extra columns of every leading dimension
  bool transpose_a, transpose_b;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {3, 5, 7}, {17, 33, 64}, {64, 48, 129}, {1, 100, 32}}) {
    for (const int pad : {0, 3}) {
      for (const int flags : {0, 1, 2, 3}) out.push_back({m, n, k, pad, (flags & 1) != 0, (flags & 2) != 0});
    }
  }
  return out;
}

/// Stored matrices with their leading dimensions, and op(x)[i][j].
struct Matrix {
  std::vector<float> values;
  std::int64_t leading;
  bool transposed;
  Matrix(std::uint64_t seed, std::int64_t rows, std::int64_t columns, bool t, std::int64_t pad)
      : leading((t ? rows : columns) + pad), transposed(t) {
    values = test::random_floats(seed, static_cast<std::size_t>((t ? columns : rows) * leading));
  }
  double at(std::int64_t i, std::int64_t j) const {
    return values[static_cast<std::size_t>(transposed ? j * leading + i : i * leading + j)];
  }
  std::vector<Bf16> rounded() {
    std::vector<Bf16> out;
    for (float& v : values) {
      out.push_back(to_bf16(v));
      v = to_float(out.back());
    }
    return out;
  }
};

/// Checks c against before * beta + alpha * op(a) * op(b), and that the padding was left alone.
void expect_product(const Case& t, const Matrix& a, const Matrix& b, double alpha, double beta,
                    const std::vector<float>& before, const std::vector<float>& c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < t.m; ++i) {
    for (std::int64_t j = 0; j < ldc; ++j) {
      const auto at = static_cast<std::size_t>(i * ldc + j);
      if (j >= t.n) {
        ASSERT_EQ(c[at], before[at]) << "padding written at " << i << " " << j;
        continue;
      }
      double sum = 0;
      double magnitude = std::fabs(beta * before[at]);
      for (std::int64_t p = 0; p < t.k; ++p) {
        sum += a.at(i, p) * b.at(p, j);
        magnitude += std::fabs(alpha * a.at(i, p) * b.at(p, j));
      }
      const double bound =
          magnitude * 0x1p-24 * (tolerance::kDotSigmas * std::sqrt(static_cast<double>(t.k)) + tolerance::kDotFloor);
      ASSERT_NEAR(c[at], alpha * sum + beta * before[at], bound)
          << t.m << "x" << t.n << "x" << t.k << " ta " << t.transpose_a << " tb " << t.transpose_b;
    }
  }
}

TEST(Gemm, F32) {
  for (const Case& t : cases()) {
    for (const float beta : {0.0F, 1.0F}) {
      const Matrix a(1, t.m, t.k, t.transpose_a, t.pad);
      const Matrix b(2, t.k, t.n, t.transpose_b, t.pad);
      const std::int64_t ldc = t.n + t.pad;
      const std::vector<float> before = test::random_floats(3, static_cast<std::size_t>(t.m * ldc));
      std::vector<float> c = before;
      gemm(GemmF32{.transpose_a = t.transpose_a,
                   .transpose_b = t.transpose_b,
                   .m = t.m,
                   .n = t.n,
                   .k = t.k,
                   .alpha = 0.5F,
                   .a = a.values.data(),
                   .lda = a.leading,
                   .b = b.values.data(),
                   .ldb = b.leading,
                   .beta = beta,
                   .c = c.data(),
                   .ldc = ldc});
      expect_product(t, a, b, 0.5, beta, before, c, ldc);
    }
  }
}

TEST(Gemm, Bf16) {
  if (!has_native_bf16()) GTEST_SKIP() << "no bf16 products on this processor (or AWQ_ISA forbids them)";
  for (const Case& t : cases()) {
    for (const bool accumulate : {false, true}) {
      Matrix a(4, t.m, t.k, t.transpose_a, t.pad);
      Matrix b(5, t.k, t.n, t.transpose_b, t.pad);
      const std::vector<Bf16> a16 = a.rounded();
      const std::vector<Bf16> b16 = b.rounded();
      const std::int64_t ldc = t.n + t.pad;
      const std::vector<float> before = test::random_floats(6, static_cast<std::size_t>(t.m * ldc));
      std::vector<float> c = before;
      gemm(GemmBf16{.transpose_a = t.transpose_a,
                    .transpose_b = t.transpose_b,
                    .m = t.m,
                    .n = t.n,
                    .k = t.k,
                    .a = a16.data(),
                    .lda = a.leading,
                    .b = b16.data(),
                    .ldb = b.leading,
                    .accumulate = accumulate,
                    .c = c.data(),
                    .ldc = ldc});
      expect_product(t, a, b, 1, accumulate ? 1 : 0, before, c, ldc);
    }
  }
}

TEST(Gemm, NothingToDo) {
  float c = 7;
  gemm(GemmF32{.m = 0, .n = 1, .k = 1, .lda = 1, .ldb = 1, .c = &c, .ldc = 1});
  gemm(GemmBf16{.m = 1, .n = 0, .k = 1, .lda = 1, .ldb = 1, .c = &c, .ldc = 1});
  EXPECT_EQ(c, 7);
}

}  // namespace
}  // namespace awq::ops
