// Layer `device` on the processor: its memory is the host's, its stream does everything at once, and its products are
// those of layer ops.

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/float16.h"
#include "cuda_runtime.h"
#include "device/dense_product.h"
#include "device/device.h"
#include "device/matrix_product.h"
#include "device/memory.h"
#include "device/stream.h"
#include "emulator.h"
#include "ops/gemm.h"

namespace awq::device {

void check(int status, const char* what) {
  if (status != 0) fail(ErrorCode::kDevice, "emulated device: {} failed with status {}", what, status);
}

namespace {
std::uint64_t in_use = 0, most_in_use = 0;

constexpr std::uint64_t kPage = 4096;
std::uint64_t pages_of(std::uint64_t bytes) { return (aligned(bytes) + kPage - 1) / kPage * kPage; }
}  // namespace

std::uint64_t peak_buffer_bytes() { return most_in_use; }

int count() { return 1; }
bool is_sticky(int) { return false; }
void synchronize() {}
Properties open(int) {
  using namespace cuda_emulation;
  return {.name = "emulated",
          .major = cuda_emulation::device.major,
          .minor = cuda_emulation::device.minor,
          .multiprocessors = cuda_emulation::device.multiprocessors};
}
/// "emulated", or "emulated75", "emulated90" for a device of compute capability 7.5, 9.0.
int parse_name(const std::string& name) {
  if (name == "emulated75") cuda_emulation::become_compute_75();
  if (name == "emulated90") cuda_emulation::become_compute_90();
  return name == "cpu" ? -1 : 0;
}
MemoryInfo memory() { return {.free_bytes = std::uint64_t{1} << 40, .total_bytes = std::uint64_t{1} << 40}; }

Buffer::Buffer(std::uint64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  // It ends where a page begins that nobody may touch.
  void* const memory =
      mmap(nullptr, pages_of(bytes) + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(ErrorCode::kOutOfMemory, "emulated device: no memory for {} bytes", bytes);
  auto* const end = static_cast<std::byte*>(memory) + pages_of(bytes);
  mprotect(end, kPage, PROT_NONE);
  data_ = end - aligned(bytes);
  std::memset(data_, 0xA5, bytes);  // uninitialized memory is nothing to lean on
  in_use += bytes;
  most_in_use = std::max(most_in_use, in_use);
}
Buffer::~Buffer() {
  if (data_ == nullptr) return;
  munmap(data_ + aligned(bytes_) - pages_of(bytes_), pages_of(bytes_) + kPage);
  in_use -= bytes_;
}

PinnedBuffer::PinnedBuffer(std::uint64_t bytes) : bytes_(bytes) {
  data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, aligned(bytes)));
  std::memset(data_, 0, bytes);
}
PinnedBuffer::~PinnedBuffer() { std::free(data_); }

void upload(void* to, const void* from, std::uint64_t bytes) { std::memcpy(to, from, bytes); }
void download(void* to, const void* from, std::uint64_t bytes) { std::memcpy(to, from, bytes); }
void copy(void* to, const void* from, std::uint64_t bytes, const Stream&) {
  cuda_emulation::enqueue([=] { std::memcpy(to, from, bytes); });
}
void upload(void* to, const void* from, std::uint64_t bytes, const Stream& stream) { copy(to, from, bytes, stream); }
void download(void* to, const void* from, std::uint64_t bytes, const Stream& stream) { copy(to, from, bytes, stream); }
void fill(void* to, int byte, std::uint64_t bytes, const Stream&) {
  cuda_emulation::enqueue([=] { std::memset(to, byte, bytes); });
}

Stream::Stream() = default;
Stream::~Stream() = default;
void Stream::synchronize() const {}

Event::Event() = default;
Event::~Event() = default;
void Event::record(const Stream&) {}
void Event::synchronize() const {}
double Event::seconds_since(const Event&) const { return 1; }

using Recording = std::vector<std::function<void()>>;

Graph::Graph(const Stream&, const std::function<void()>& enqueue) {
  auto* const recording = new Recording;
  cuda_emulation::record(recording);
  enqueue();
  cuda_emulation::record(nullptr);
  graph_ = reinterpret_cast<CUgraphExec_st*>(recording);
}
Graph::~Graph() { delete reinterpret_cast<Recording*>(graph_); }
void Graph::launch(const Stream&) const {
  for (const auto& work : *reinterpret_cast<const Recording*>(graph_)) work();
}

struct DenseProduct::Impl {};
DenseProduct::DenseProduct(void*) {}
DenseProduct::~DenseProduct() = default;
std::size_t DenseProduct::shapes() const { return 0; }

namespace {

float widen(kernels::cuda::Half type, const void* from, std::int64_t i) {
  const auto bits = static_cast<const std::uint16_t*>(from)[i];
  return type == kernels::cuda::Half::kF16 ? to_float(F16{bits}) : to_float(Bf16{bits});
}
std::vector<float> widen_all(kernels::cuda::Half type, const void* from, std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = widen(type, from, i);
  return out;
}

}  // namespace

void DenseProduct::run(const DenseShape& s, const void* x, const void* weight, const void* bias, void* y,
                       const Stream&) {
  cuda_emulation::enqueue([=] {
    const std::vector<float> a = widen_all(s.type, x, s.m * s.k), b = widen_all(s.type, weight, s.n * s.k);
    std::vector<float> product(static_cast<std::size_t>(s.m * s.n));
    ops::gemm(ops::GemmF32{.transpose_b = true,
                           .m = s.m,
                           .n = s.n,
                           .k = s.k,
                           .alpha = 1,
                           .a = a.data(),
                           .lda = s.k,
                           .b = b.data(),
                           .ldb = s.k,
                           .beta = 0,
                           .c = product.data(),
                           .ldc = s.n});
    for (std::int64_t i = 0; i < s.m * s.n; ++i) {
      float v = product[static_cast<std::size_t>(i)];
      if (s.has_bias) v += s.float_output ? static_cast<const float*>(bias)[i % s.n] : widen(s.type, bias, i % s.n);
      if (s.float_output) {
        static_cast<float*>(y)[i] = v;
      } else {
        static_cast<std::uint16_t*>(y)[i] = s.type == kernels::cuda::Half::kF16 ? to_f16(v).bits : to_bf16(v).bits;
      }
    }
  });
}

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
