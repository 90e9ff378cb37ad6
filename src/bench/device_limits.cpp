#include "bench/device_limits.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "bench/machine.h"
#include "device/dense_product.h"
#include "device/device.h"
#include "kernels/api/cuda_measure.h"

namespace awq::bench {
namespace {

constexpr std::uint64_t kCopyBytes = std::uint64_t{1} << 30;
constexpr int kCopies = 11;
// Large enough for a product at the device's full rate, small enough for any device that has such units.
constexpr std::int64_t kProductWidth = 8192;
constexpr int kProducts = 7;
constexpr int kWarmUpProducts = 2;
constexpr std::int64_t kHalfBytes = 2;

double median_speed(const device::Stream& stream, std::uint64_t bytes, const std::function<void()>& enqueue) {
  std::vector<double> speeds;
  for (int i = 0; i < kCopies; ++i) {
    const double seconds = device_seconds(stream, enqueue);
    if (i > 0) speeds.push_back(static_cast<double>(bytes) / seconds);
  }
  return median(speeds);
}

}  // namespace

double device_seconds(const device::Stream& stream, const std::function<void()>& enqueue) {
  device::Event begin, end;
  begin.record(stream);
  enqueue();
  end.record(stream);
  end.synchronize();
  return end.seconds_since(begin);
}

double device_copy_bandwidth() {
  const std::uint64_t bytes = device::aligned(std::min(kCopyBytes, device::memory().free_bytes / 8));
  const device::Stream stream;
  const device::Buffer from(bytes), to(bytes);
  device::fill(from.data(), 0x5A, bytes, stream);
  const double own = median_speed(stream, 2 * bytes, [&] { device::copy(to.data(), from.data(), bytes, stream); });
  const double loop = median_speed(stream, 2 * bytes, [&] {
    device::check(kernels::cuda::copy_by_kernel(to.data(), from.data(), static_cast<std::int64_t>(bytes), stream.get()),
                  "copy_by_kernel");
  });
  return std::max(own, loop);
}

double device_product_peak(kernels::cuda::Half type) {
  constexpr std::int64_t kCount = kProductWidth * kProductWidth;
  const device::Stream stream;
  const device::Buffer a(kCount * kHalfBytes), b(kCount * kHalfBytes), c(kCount * kHalfBytes);
  const device::Buffer workspace(device::DenseProduct::kWorkspaceBytes);
  device::check(kernels::cuda::fill_normal(type, a.data(), kCount, 1, 1, stream.get()), "fill_normal");
  device::check(kernels::cuda::fill_normal(type, b.data(), kCount, 1, 2, stream.get()), "fill_normal");
  device::DenseProduct product(workspace.data());
  const device::DenseShape shape{.type = type, .m = kProductWidth, .n = kProductWidth, .k = kProductWidth};
  std::vector<double> speeds;
  for (int i = 0; i < kProducts; ++i) {
    const double seconds =
        device_seconds(stream, [&] { product.run(shape, a.data(), b.data(), nullptr, c.data(), stream); });
    if (i >= kWarmUpProducts) speeds.push_back(2 * std::pow(static_cast<double>(kProductWidth), 3) / seconds);
  }
  return median(speeds);
}

}  // namespace awq::bench
