// Three launches of one kernel, for a profiler. `awq bench --kernels` times them.
//   w4_profile N K M KERNEL [GROUP]   a name of the table, or "dense": the 16-bit product of one order

#include <cstdlib>
#include <string>

#include "device_support.cuh"
#include "kernels/api/cuda_measure.h"

namespace {

using namespace awq::kernels::cuda;
using awq::gpu_test::check;
using awq::gpu_test::DeviceArray;

constexpr int kLaunches = 3;

int profile_dense(int n, int k, int m) {
  const DeviceArray<std::uint16_t> weight(static_cast<std::size_t>(n) * k), x(static_cast<std::size_t>(m) * k);
  const DeviceArray<float> y(static_cast<std::size_t>(m) * n);
  check(fill_normal(Half::kF16, weight.data(), static_cast<std::int64_t>(weight.size()), 0.02F, 1, nullptr), "fill");
  check(fill_normal(Half::kF16, x.data(), static_cast<std::int64_t>(x.size()), 1, 2, nullptr), "fill");
  AWQ_GPU(cudaDeviceSynchronize());
  const DenseProblem problem{
      .type = Half::kF16, .weight = weight.data(), .x = x.data(), .y = y.data(), .m = m, .n = n, .k = k};
  for (int i = 0; i < kLaunches; ++i) check(dense_linear(problem, nullptr), "dense_linear");
  AWQ_GPU(cudaDeviceSynchronize());
  return 0;
}

int profile(const W4Layout& layout, int m, const std::string& name) {
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
    for (int i = 0; i < kLaunches; ++i) check(w4_linear(problem, nullptr, index), name.c_str());
    AWQ_GPU(cudaDeviceSynchronize());
    return 0;
  }
  std::fprintf(stderr, "no kernel %s\n", name.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "w4_profile N K M KERNEL [GROUP]\n");
    return 2;
  }
  const int n = std::atoi(argv[1]);
  const int k = std::atoi(argv[2]);
  const int m = std::atoi(argv[3]);
  const std::string name = argv[4];
  if (name == "dense") return profile_dense(n, k, m);
  return profile({n, k, argc > 5 ? std::atoi(argv[5]) : 128}, m, name);
}
