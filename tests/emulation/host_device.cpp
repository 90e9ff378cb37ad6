// Layer `device` on the processor: its memory is the host's, its stream does everything at once, and its products are
// those of layer ops.

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "device/device.h"
#include "device/matrix_product.h"
#include "device/memory.h"
#include "device/stream.h"
#include "ops/gemm.h"

namespace awq::device {

void check(int status, const char* what) {
  if (status != 0) fail(ErrorCode::kDevice, "emulated device: {} failed with status {}", what, status);
}

namespace {
std::uint64_t in_use = 0, most_in_use = 0;
}  // namespace

std::uint64_t peak_buffer_bytes() { return most_in_use; }

Properties open(int) { return {.name = "emulated"}; }
int parse_name(const std::string& name) { return name == "cpu" ? -1 : 0; }
MemoryInfo memory() { return {.free_bytes = std::uint64_t{1} << 40, .total_bytes = std::uint64_t{1} << 40}; }

Buffer::Buffer(std::uint64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, aligned(bytes)));
  std::memset(data_, 0xA5, bytes);  // uninitialized memory is nothing to lean on
  in_use += bytes;
  most_in_use = std::max(most_in_use, in_use);
}
Buffer::~Buffer() {
  if (data_ == nullptr) return;
  std::free(data_);
  in_use -= bytes_;
}

void upload(void* to, const void* from, std::uint64_t bytes) { std::memcpy(to, from, bytes); }
void download(void* to, const void* from, std::uint64_t bytes) { std::memcpy(to, from, bytes); }
void copy(void* to, const void* from, std::uint64_t bytes, const Stream&) { std::memcpy(to, from, bytes); }
void fill(void* to, int byte, std::uint64_t bytes, const Stream&) { std::memset(to, byte, bytes); }

Stream::Stream() = default;
Stream::~Stream() = default;
void Stream::synchronize() const {}

struct MatrixProduct::Impl {};
MatrixProduct::MatrixProduct(void*) {}
MatrixProduct::~MatrixProduct() = default;

void MatrixProduct::run(const MatrixShape& s, float alpha, const void* a, const void* b, float beta, float* c,
                        const Stream&) {
  if (s.m == 0 || s.n == 0) return;
  if (!s.bf16) {
    ops::gemm(ops::GemmF32{.transpose_a = s.transpose_a,
                           .transpose_b = s.transpose_b,
                           .m = s.m,
                           .n = s.n,
                           .k = s.k,
                           .alpha = alpha,
                           .a = static_cast<const float*>(a),
                           .lda = s.lda,
                           .b = static_cast<const float*>(b),
                           .ldb = s.ldb,
                           .beta = beta,
                           .c = c,
                           .ldc = s.ldc});
    return;
  }
  AlignedBuffer<float> product(static_cast<std::size_t>(s.m * s.n));
  ops::gemm(ops::GemmBf16{.transpose_a = s.transpose_a,
                          .transpose_b = s.transpose_b,
                          .m = s.m,
                          .n = s.n,
                          .k = s.k,
                          .a = static_cast<const Bf16*>(a),
                          .lda = s.lda,
                          .b = static_cast<const Bf16*>(b),
                          .ldb = s.ldb,
                          .c = product.data(),
                          .ldc = s.n});
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < s.n; ++j) {
      float& to = c[i * s.ldc + j];
      to = alpha * product[static_cast<std::size_t>(i * s.n + j)] + (beta == 0 ? 0 : beta * to);
    }
  }
}

}  // namespace awq::device
