#include "model/read_rows.h"

#include <omp.h>

#include "base/check.h"
#include "base/parallel.h"
#include "ops/parallel.h"

namespace awq::model {
namespace {

// Less is read before a second thread has begun, and AlignedBuffer has written to it already.
constexpr std::size_t kSerialBytes = std::size_t{1} << 20;

}  // namespace

void read_rows(const formats::Checkpoint& checkpoint, const formats::Checkpoint::Tensor& tensor, std::uint64_t rows,
               std::span<std::byte> to) {
  AWQ_CHECK(rows > 0 && to.size() == tensor.size_bytes() && to.size() % rows == 0);
  const std::size_t row_bytes = to.size() / rows;
  ParallelError error;
#pragma omp parallel if (to.size() > kSerialBytes)
  error.guard([&] {
    const ops::BlockRange range =
        ops::thread_rows(static_cast<std::int64_t>(rows), omp_get_thread_num(), omp_get_num_threads());
    const std::size_t begin = static_cast<std::size_t>(range.begin) * row_bytes;
    const std::size_t end = static_cast<std::size_t>(range.end) * row_bytes;
    checkpoint.read(tensor, to.subspan(begin, end - begin), begin);
  });
  error.rethrow();
}

}  // namespace awq::model
