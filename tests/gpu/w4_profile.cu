// Three launches of one kernel, for a profiler; or many in a row, as long as it takes for the device to lower its
// clock, and the time of one. `awq bench --kernels` times them in short bursts.
//   w4_profile N K M KERNEL [GROUP [LAUNCHES]]   a name of the table, or "dense": the 16-bit product of one order

#include <cstdlib>
#include <string>

#include "device_support.cuh"
#include "kernels/api/cuda_measure.h"

namespace {

using namespace awq::kernels::cuda;
using awq::gpu_test::check;
using awq::gpu_test::DeviceArray;

/// Runs launch() `launches` times; more than a profiler's three are timed.
template <class Launch>
void run(int launches, const Launch& launch) {
  cudaEvent_t begin = nullptr, end = nullptr;
  AWQ_GPU(cudaEventCreate(&begin));
  AWQ_GPU(cudaEventCreate(&end));
  AWQ_GPU(cudaEventRecord(begin));
  for (int i = 0; i < launches; ++i) launch();
  AWQ_GPU(cudaEventRecord(end));
  AWQ_GPU(cudaDeviceSynchronize());
  float ms = 0;
  AWQ_GPU(cudaEventElapsedTime(&ms, begin, end));
  if (launches > 3) std::printf("%.1f us\n", static_cast<double>(ms) * 1e3 / launches);
}

int profile_dense(int n, int k, int m, int launches) {
  const DeviceArray<std::uint16_t> weight(static_cast<std::size_t>(n) * k), x(static_cast<std::size_t>(m) * k);
  const DeviceArray<float> y(static_cast<std::size_t>(m) * n);
  check(fill_normal(Half::kF16, weight.data(), static_cast<std::int64_t>(weight.size()), 0.02F, 1, nullptr), "fill");
  check(fill_normal(Half::kF16, x.data(), static_cast<std::int64_t>(x.size()), 1, 2, nullptr), "fill");
  AWQ_GPU(cudaDeviceSynchronize());
  const DenseProblem problem{
      .type = Half::kF16, .weight = weight.data(), .x = x.data(), .y = y.data(), .m = m, .n = n, .k = k};
  run(launches, [&] { check(dense_linear(problem, nullptr), "dense_linear"); });
  return 0;
}

int profile(const W4Layout& layout, int m, const std::string& name, int launches) {
  const DeviceArray<std::uint8_t> weight(static_cast<std::size_t>(layout.bytes()));
  const DeviceArray<std::uint16_t> x(static_cast<std::size_t>(m) * layout.k), y(static_cast<std::size_t>(m) * layout.n);
  const DeviceArray<std::uint8_t> workspace(w4_workspace_bytes(layout, m));
  check(fill_stream(layout, weight.data(), 1, nullptr), "fill");
  check(fill_normal(Half::kF16, x.data(), static_cast<std::int64_t>(x.size()), 1, 2, nullptr), "fill");
  AWQ_GPU(cudaMemset(workspace.data(), 0, workspace.size()));
  AWQ_GPU(cudaDeviceSynchronize());
  const W4Problem problem{.layout = layout,
                          .type = Half::kF16,
                          .weight = weight.data(),
                          .x = x.data(),
                          .y = y.data(),
                          .m = m,
                          .workspace = workspace.data()};
  for (int index = 0; w4_kernel_names()[index] != nullptr; ++index) {
    if (name != w4_kernel_names()[index]) continue;
    run(launches, [&] { check(w4_linear(problem, nullptr, index), name.c_str()); });
    return 0;
  }
  std::fprintf(stderr, "no kernel %s\n", name.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "w4_profile N K M KERNEL [GROUP [LAUNCHES]]\n");
    return 2;
  }
  const int n = std::atoi(argv[1]);
  const int k = std::atoi(argv[2]);
  const int m = std::atoi(argv[3]);
  const std::string name = argv[4];
  const int launches = argc > 6 ? std::atoi(argv[6]) : 3;
  if (name == "dense") return profile_dense(n, k, m, launches);
  return profile({n, k, argc > 5 ? std::atoi(argv[5]) : 128}, m, name, launches);
}
