// Checks the 4-bit kernels of this device against a binary64 reference, and one another bit by bit.
//   w4_check [PREFIX [SEED [quick]]]   kernels whose name begins with PREFIX (all), or "dense"; exit 1 on any failure

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "device_support.cuh"
#include "kernels/cuda/w4_stream.h"

namespace {

using namespace awq::kernels;
using namespace awq::kernels::cuda;
using awq::gpu_test::DeviceArray;

struct Case {
  std::int64_t n, k, group;
  bool bias, symmetric;
};

__device__ double half_value(std::uint16_t h, bool f16) {
  if (f16) {
    __half v;
    memcpy(&v, &h, 2);
    return static_cast<double>(__half2float(v));
  }
  return static_cast<double>(__uint_as_float(static_cast<unsigned>(h) << 16));
}

/// One output per thread, from the unpacked codes.
__global__ void reference(const std::uint8_t* codes, const float* scales, const std::uint8_t* zeros, const float* bias,
                          const std::uint16_t* x, double* y, int m, int n, int k, int group, bool f16) {
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (at >= m * n) return;
  const int row = at / n;
  const int col = at % n;
  const int groups = k / group;
  double sum = 0;
  for (int q = 0; q < groups; ++q) {
    double part = 0;
    for (int i = q * group; i < (q + 1) * group; ++i) {
      part += (static_cast<int>(codes[static_cast<long long>(col) * k + i]) - zeros[col * groups + q]) *
              half_value(x[static_cast<long long>(row) * k + i], f16);
    }
    sum += part * static_cast<double>(scales[col * groups + q]);
  }
  y[at] = sum + (bias != nullptr ? bias[col] : 0.0);
}

std::uint16_t to_half_bits(float v, bool f16) {
  std::uint16_t r;
  if (f16) {
    const __half h = __float2half_rn(v);
    memcpy(&r, &h, 2);
  } else {
    const __nv_bfloat16 h = __float2bfloat16_rn(v);
    memcpy(&r, &h, 2);
  }
  return r;
}
double from_half_bits(std::uint16_t r, bool f16) {
  if (f16) {
    __half h;
    memcpy(&h, &r, 2);
    return __half2float(h);
  }
  const std::uint32_t u = static_cast<std::uint32_t>(r) << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

/// The same bits in every row as in the product of the most tokens.
int run_case(const Case& c, Half type, const std::vector<int>& ms, const std::string& prefix, std::mt19937& random,
             int& done) {
  const bool f16 = type == Half::kF16;
  const W4Layout layout{c.n, c.k, c.group};
  const auto n = static_cast<std::size_t>(c.n);
  const auto k = static_cast<std::size_t>(c.k);
  const std::size_t groups = k / static_cast<std::size_t>(c.group);
  std::normal_distribution<float> normal;
  std::vector<std::uint8_t> codes(n * k);
  std::vector<std::uint8_t> zeros(n * groups);
  std::vector<float> scales(n * groups);
  std::vector<float> bias(n);
  for (auto& v : codes) v = static_cast<std::uint8_t>(random() & 15);
  for (auto& v : zeros) v = c.symmetric ? 8 : static_cast<std::uint8_t>(random() & 15);
  for (auto& v : scales)
    v = __half2float(__float2half_rn(0.002F + 0.004F * static_cast<float>(random() % 1000) / 1000));
  for (auto& v : bias) v = normal(random);
  int most = 0;
  for (const int m : ms) most = std::max(most, m);
  std::vector<std::uint16_t> x(static_cast<std::size_t>(most) * k);
  for (auto& v : x) v = to_half_bits(normal(random) * (random() % 200 == 0 ? 20.0F : 1.0F), f16);

  if (w4_objection(c.n, c.k, c.group, scales.data(), static_cast<std::int64_t>(scales.size())) != nullptr) return 1;
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(layout.bytes()));
  for (std::int64_t s = 0; s < layout.strips(); ++s) {
    w4_pack_strip(layout, {codes.data(), scales.data(), zeros.data()}, s, packed.data() + s * layout.strip_bytes());
  }
  const DeviceArray<std::uint8_t> d_packed(packed), d_codes(codes), d_zeros(zeros);
  const DeviceArray<float> d_scales(scales), d_bias(bias);
  const DeviceArray<std::uint16_t> d_x(x);
  DeviceArray<double> d_expected(static_cast<std::size_t>(most) * n);
  const int outputs = most * static_cast<int>(n);
  reference<<<(outputs + 127) / 128, 128>>>(d_codes.data(), d_scales.data(), d_zeros.data(),
                                            c.bias ? d_bias.data() : nullptr, d_x.data(), d_expected.data(), most,
                                            static_cast<int>(n), static_cast<int>(k), static_cast<int>(c.group), f16);
  AWQ_GPU(cudaGetLastError());
  const std::vector<double> expected = d_expected.download();
  const DeviceArray<std::uint8_t> workspace(w4_workspace_bytes(layout, most));
  AWQ_GPU(cudaMemset(workspace.data(), 0, workspace.size()));

  int failures = 0;
  std::vector<std::uint16_t> longest;  // all rows, of the kernel that the table prefers
  {
    const DeviceArray<std::uint16_t> y(static_cast<std::size_t>(most) * n);
    const W4Problem problem{.layout = layout,
                            .type = type,
                            .weight = d_packed.data(),
                            .bias = c.bias ? d_bias.data() : nullptr,
                            .x = d_x.data(),
                            .y = y.data(),
                            .m = most,
                            .workspace = workspace.data()};
    awq::gpu_test::check(w4_linear(problem, nullptr), "launch");
    AWQ_GPU(cudaDeviceSynchronize());
    longest = y.download();
  }
  for (const int m : ms) {
    for (int index = 0; w4_kernel_names()[index] != nullptr; ++index) {
      const std::string name = w4_kernel_names()[index];
      if (name.compare(0, prefix.size(), prefix) != 0) continue;
      DeviceArray<std::uint16_t> y(static_cast<std::size_t>(m) * n + 64);
      y.poison();
      W4Problem problem{.layout = layout,
                        .type = type,
                        .weight = d_packed.data(),
                        .bias = c.bias ? d_bias.data() : nullptr,
                        .x = d_x.data(),
                        .y = y.data(),
                        .m = m,
                        .workspace = workspace.data()};
      if (w4_kernel_objection(problem, index) != nullptr) continue;
      for (int repeat = 0; repeat < 2; ++repeat) {
        // One alone, then some that overlap: each finds the workspace as the one before it leaves it.
        for (int launch = 0; launch < 1 + 2 * repeat; ++launch) {
          awq::gpu_test::check(w4_linear(problem, nullptr, index), "launch");
        }
        const cudaError_t error = cudaDeviceSynchronize();
        if (error != cudaSuccess) {
          std::printf("FAIL %s n %lld k %lld group %lld m %d: %s\n", name.c_str(), (long long)c.n, (long long)c.k,
                      (long long)c.group, m, cudaGetErrorString(error));
          std::exit(1);
        }
      }
      const std::vector<std::uint16_t> got = y.download();
      double error2 = 0;
      double norm2 = 0;
      std::size_t different = 0;
      std::size_t beyond = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(m) * n; ++i) {
        const double v = from_half_bits(got[i], f16);
        error2 += (v - expected[i]) * (v - expected[i]);
        norm2 += expected[i] * expected[i];
        if (got[i] != longest[i]) ++different;
      }
      for (std::size_t i = static_cast<std::size_t>(m) * n; i < got.size(); ++i) beyond += got[i] != 0xffff;
      const double relative = std::sqrt(error2 / norm2);
      const bool good = relative <= w4_tolerance(type) && different == 0 && beyond == 0;
      ++done;
      if (!good) {
        ++failures;
        std::printf(
            "FAIL %s %s n %lld k %lld group %lld m %d bias %d: error %.3g, %zu other bits, %zu beyond the end\n",
            name.c_str(), f16 ? "f16" : "bf16", (long long)c.n, (long long)c.k, (long long)c.group, m, c.bias, relative,
            different, beyond);
        if (failures < 3) {
          int shown = 0;
          for (std::size_t i = 0; i < static_cast<std::size_t>(m) * n && shown < 6; ++i) {
            const double v = from_half_bits(got[i], f16);
            if (!(std::abs(v - expected[i]) <= 0.02 * std::sqrt(norm2 / (m * static_cast<double>(n))))) {
              std::printf("   token %zu row %zu: %g, expected %g\n", i / n, i % n, v, expected[i]);
              ++shown;
            }
          }
        }
      }
    }
  }
  return failures;
}

/// The 16-bit product in one order of sums.
int run_dense(Half type, int n, int k, std::mt19937& random) {
  const bool f16 = type == Half::kF16;
  const std::vector<int> ms = {100, 1, 7, 8, 16, 17, 32, 64};
  const int most = ms[0];
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> w(static_cast<std::size_t>(n) * k), x(static_cast<std::size_t>(most) * k);
  for (auto& v : w) v = to_half_bits(normal(random), f16);
  for (auto& v : x) v = to_half_bits(normal(random), f16);
  const DeviceArray<std::uint16_t> d_w(w), d_x(x);
  std::vector<float> all;
  int failures = 0;
  for (const int m : ms) {
    DeviceArray<float> y(static_cast<std::size_t>(m) * n + 16);
    y.poison();
    awq::gpu_test::check(
        dense_linear({.type = type, .weight = d_w.data(), .x = d_x.data(), .y = y.data(), .m = m, .n = n, .k = k},
                     nullptr),
        "dense");
    AWQ_GPU(cudaDeviceSynchronize());
    const std::vector<float> got = y.download();
    const std::size_t count = static_cast<std::size_t>(m) * n;
    bool good = true;
    for (std::size_t i = 0; i < count && !all.empty(); ++i) good &= std::memcmp(&got[i], &all[i], 4) == 0;
    for (std::size_t i = count; i < got.size(); ++i) good &= std::isnan(got[i]);
    double error2 = 0;
    double norm2 = 0;
    for (int sample = 0; sample < 4000; ++sample) {
      const std::size_t at = random() % count;
      double sum = 0;
      for (int i = 0; i < k; ++i) {
        sum += from_half_bits(w[(at % n) * k + i], f16) * from_half_bits(x[(at / n) * k + i], f16);
      }
      error2 += (got[at] - sum) * (got[at] - sum);
      norm2 += sum * sum;
    }
    good &= std::sqrt(error2 / norm2) <= 1e-5;
    if (!good) {
      std::printf("FAIL dense %s n %d k %d m %d: error %.3g or other bits\n", f16 ? "f16" : "bf16", n, k, m,
                  std::sqrt(error2 / norm2));
      ++failures;
    }
    if (all.empty()) all = got;
  }
  return failures;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string prefix = argc > 1 ? argv[1] : "";
  std::mt19937 random(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : std::random_device()());
  const bool quick = argc > 3;
  const std::vector<Case> cases =
      quick ? std::vector<Case>{{192, 1792, 128, true, false},
                                {136, 640, 32, false, false},
                                {300, 6144, 128, true, false}}
            : std::vector<Case>{
                  {256, 1024, 128, false, false}, {4096, 4096, 128, false, false}, {1536, 3584, 128, true, false},
                  {328, 11008, 128, true, true},  {1000, 2048, 64, false, false},  {512, 4096, 32, true, false},
                  {6144, 1536, 128, false, true}, {64, 128, 128, false, false},    {200, 200, 200, true, false},
                  {96, 344, 344, false, false},   {24, 40, 40, true, false},       {2048, 8192, 1024, false, false},
                  {136, 14336, 64, true, false},  {300, 2048, 128, true, false},   {264, 6144, 64, false, false},
                  {516, 6144, 128, true, true}};
  int failures = 0;
  int done = 0;
  if (prefix == "dense") {
    for (const auto& [n, k] : {std::pair{1000, 512}, {128, 72}, {333, 4096}, {2048, 1000}}) {
      for (const Half type : {Half::kF16, Half::kBf16}) failures += run_dense(type, n, k, random), ++done;
    }
    std::printf("dense: %d shapes checked, %d failures\n", done, failures);
    return failures == 0 ? 0 : 1;
  }
  for (const Case& c : cases) {
    for (const Half type : {Half::kF16, Half::kBf16}) {
      std::vector<int> ms = {quick ? 70 : 300, 1, 2, 3, 8, 9, 16, 33, 64};
      if (!quick) {
        for (const int m : {5, 128, 129, 200}) ms.push_back(m);
      }
      failures += run_case(c, type, ms, prefix, random, done);
    }
  }
  std::printf("%s: %d products checked, %d failures\n", prefix.c_str(), done, failures);
  return failures == 0 ? 0 : 1;
}
