// What a build without CUDA has in place of a device.

#include "base/check.h"
#include "device/dense_product.h"
#include "device/device.h"
#include "device/matrix_product.h"
#include "device/memory.h"
#include "device/stream.h"

namespace awq::device {
namespace {

[[noreturn]] void refuse() { fail(ErrorCode::kDevice, "--device cuda: this build has no CUDA support"); }

}  // namespace

struct DenseProduct::Impl {};

int count() { return 0; }
Properties open(int) { refuse(); }
MemoryInfo memory() { refuse(); }
void synchronize() { refuse(); }
bool is_sticky(int) { return false; }
void check(int, const char*) { refuse(); }

Buffer::Buffer(std::uint64_t bytes) {
  if (bytes != 0) refuse();
}
Buffer::~Buffer() = default;
std::uint64_t peak_buffer_bytes() { return 0; }
PinnedBuffer::PinnedBuffer(std::uint64_t bytes) {
  if (bytes != 0) refuse();
}
PinnedBuffer::~PinnedBuffer() = default;

void upload(void*, const void*, std::uint64_t) { refuse(); }
void download(void*, const void*, std::uint64_t) { refuse(); }
void upload(void*, const void*, std::uint64_t, const Stream&) { refuse(); }
void download(void*, const void*, std::uint64_t, const Stream&) { refuse(); }
void copy(void*, const void*, std::uint64_t, const Stream&) { refuse(); }
void fill(void*, int, std::uint64_t, const Stream&) { refuse(); }

Stream::Stream() { refuse(); }
Stream::~Stream() = default;
void Stream::synchronize() const { refuse(); }

Event::Event() { refuse(); }
Event::~Event() = default;
void Event::record(const Stream&) { refuse(); }
void Event::synchronize() const { refuse(); }
double Event::seconds_since(const Event&) const { refuse(); }

Graph::Graph(const Stream&, const std::function<void()>&) { refuse(); }
Graph::~Graph() = default;
void Graph::launch(const Stream&) const { refuse(); }

DenseProduct::DenseProduct(void*) { refuse(); }
DenseProduct::~DenseProduct() = default;
void DenseProduct::run(const DenseShape&, const void*, const void*, const void*, void*, const Stream&) { refuse(); }
std::size_t DenseProduct::shapes() const { return 0; }

struct MatrixProduct::Impl {};

MatrixProduct::MatrixProduct(void*) { refuse(); }
MatrixProduct::~MatrixProduct() = default;
void MatrixProduct::run(const MatrixShape&, float, const void*, const void*, float, float*, const Stream&) { refuse(); }

}  // namespace awq::device
