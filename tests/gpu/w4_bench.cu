// Times the 4-bit kernels of this device beside cuBLASLt with 16-bit weights.
//   w4_bench OUT.csv [quick]
//   w4_bench - profile N K M KERNEL     three launches of one kernel, for a profiler

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>
#include <string>

#include "cublas_baseline.cuh"
#include "kernels/cuda/w4_stream.h"

namespace {

using namespace awq::kernels::cuda;
using awq::gpu_test::Buffer;
using awq::gpu_test::time_launches;

__device__ std::uint32_t mix(std::uint32_t v) {
  v ^= v >> 16;
  v *= 0x7feb352dU;
  v ^= v >> 15;
  v *= 0x846ca68bU;
  return v ^ (v >> 16);
}
__global__ void fill_words(std::uint32_t* to, std::size_t count, std::uint32_t seed) {
  for (std::size_t i = blockIdx.x * 256ULL + threadIdx.x; i < count; i += gridDim.x * 256ULL) {
    to[i] = mix(static_cast<std::uint32_t>(i) * 2654435761U + seed);
  }
}
/// Normal numbers of standard deviation `scale`.
__global__ void fill_normal(std::uint16_t* to, std::size_t count, std::uint32_t seed, float scale, bool f16) {
  for (std::size_t i = blockIdx.x * 256ULL + threadIdx.x; i < count; i += gridDim.x * 256ULL) {
    const std::uint32_t a = mix(static_cast<std::uint32_t>(i) * 2654435761U + seed);
    const std::uint32_t b = mix(a + 77);
    const float u = (static_cast<float>(a >> 8) + 1) / 16777217.0F;
    const float v = scale * sqrtf(-2 * logf(u)) * cospif(static_cast<float>(b) * 4.6566129e-10F);
    std::uint16_t r;
    if (f16) {
      const __half h = __float2half_rn(v);
      memcpy(&r, &h, 2);
    } else {
      const __nv_bfloat16 h = __float2bfloat16_rn(v);
      memcpy(&r, &h, 2);
    }
    to[i] = r;
  }
}
/// Scales of all slabs: F16 numbers near 0.004.
__global__ void fill_scales(std::uint8_t* stream, std::size_t slabs, int slab_bytes, int groups, std::uint32_t seed) {
  for (std::size_t i = blockIdx.x * 256ULL + threadIdx.x; i < slabs * groups * 16; i += gridDim.x * 256ULL) {
    const __half h =
        __float2half_rn(0.002F + 4e-6F * static_cast<float>(mix(static_cast<std::uint32_t>(i) + seed) % 1000));
    memcpy(stream + i / (groups * 16) * slab_bytes + 1024 + i % (groups * 16) * 2, &h, 2);
  }
}
/// Each block copies a part of its own, four lines at a time.
__global__ void __launch_bounds__(512) copy_words(const uint4* from, uint4* to, std::size_t count) {
  const std::size_t at = blockIdx.x * 2048ULL + threadIdx.x;
  uint4 v[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (at + j * 512 < count) v[j] = __ldcs(from + at + j * 512);
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (at + j * 512 < count) __stcs(to + at + j * 512, v[j]);
  }
}
__global__ void __launch_bounds__(512) read_words(const uint4* from, std::size_t count, std::uint32_t* sink) {
  std::uint32_t x = 0;
  std::size_t i = blockIdx.x * 512ULL + threadIdx.x;
  const std::size_t step = gridDim.x * 512ULL;
  for (; i + 3 * step < count; i += 4 * step) {
    uint4 v[4];
    for (int j = 0; j < 4; ++j) v[j] = __ldcs(from + i + j * step);
    for (int j = 0; j < 4; ++j) x ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  if (x == 0x12345678U) *sink = x;
}

struct Shape {
  const char* name;
  int n, k;
};

}  // namespace

int main(int argc, char** argv) {
  if (std::getenv("NO_OVERLAP") != nullptr) allow_overlap(false);
  if (argc == 7 && std::string(argv[2]) == "profile") {
    const W4Layout layout{std::atoi(argv[3]), std::atoi(argv[4]), 128};
    const int m = std::atoi(argv[5]);
    const auto bytes = static_cast<std::size_t>(layout.bytes());
    Buffer<std::uint8_t> stream_memory(bytes);
    Buffer<std::uint16_t> x(static_cast<std::size_t>(m) * layout.k), y(static_cast<std::size_t>(m) * layout.n);
    fill_words<<<1024, 256>>>(reinterpret_cast<std::uint32_t*>(stream_memory.get()), bytes / 4, 5);
    fill_scales<<<1024, 256>>>(stream_memory.get(), bytes / layout.slab_bytes(), static_cast<int>(layout.slab_bytes()),
                               1, 6);
    fill_normal<<<1024, 256>>>(x.get(), x.count(), 3, 1.0F, true);
    Buffer<std::uint8_t> workspace(w4_workspace_bytes(layout, m));
    AWQ_GPU(cudaMemset(workspace.get(), 0, workspace.count()));
    const W4Problem problem{.layout = layout,
                            .type = Half::kF16,
                            .weight = stream_memory.get(),
                            .x = x.get(),
                            .y = y.get(),
                            .m = m,
                            .workspace = workspace.get()};
    for (int index = 0; w4_kernel_names()[index] != nullptr; ++index) {
      if (std::string(argv[6]) != w4_kernel_names()[index]) continue;
      for (int i = 0; i < 3; ++i) awq::gpu_test::check(w4_linear(problem, nullptr, index), argv[6]);
    }
    AWQ_GPU(cudaDeviceSynchronize());
    return 0;
  }
  const bool quick = argc > 2 && std::string(argv[2]) == "quick";
  const bool few = argc > 2 && std::string(argv[2]) == "few";
  std::FILE* csv = std::fopen(argc > 1 ? argv[1] : "/dev/null", "w");
  cudaStream_t stream;
  AWQ_GPU(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaDeviceProp props{};
  AWQ_GPU(cudaGetDeviceProperties(&props, 0));
  const Half type = Half::kF16;
  awq::gpu_test::CublasBaseline cublas(type);

  double copy_rate = 0;
  {
    const std::size_t bytes = std::size_t{2} << 30;
    Buffer<uint4> a(bytes / 16), b(bytes / 16);
    fill_words<<<1024, 256, 0, stream>>>(reinterpret_cast<std::uint32_t*>(a.get()), bytes / 4, 1);
    const double kernel_us = time_launches(
        stream, 2, [&](int) { copy_words<<<bytes / 16 / 2048, 512, 0, stream>>>(a.get(), b.get(), bytes / 16); });
    const double copy_us = time_launches(
        stream, 2, [&](int) { AWQ_GPU(cudaMemcpyAsync(b.get(), a.get(), bytes, cudaMemcpyDeviceToDevice, stream)); });
    const double read_us = time_launches(stream, 2, [&](int) {
      read_words<<<132 * 4, 512, 0, stream>>>(a.get(), bytes / 16, reinterpret_cast<std::uint32_t*>(b.get()));
    });
    copy_rate = 2 * bytes / std::min(kernel_us, copy_us) / 1e6;
    std::printf("%s, %d multiprocessors, L2 %d MB; copy %.2f TB/s (engine %.2f, kernel %.2f), read %.2f TB/s\n",
                props.name, props.multiProcessorCount, props.l2CacheSize >> 20, copy_rate, 2 * bytes / copy_us / 1e6,
                2 * bytes / kernel_us / 1e6, bytes / read_us / 1e6);
  }
  const std::vector<Shape> all = {
      {"8B qkv", 6144, 4096},   {"8B o", 4096, 4096},  {"8B gate+up", 28672, 4096},  {"8B down", 4096, 14336},
      {"70B qkv", 10240, 8192}, {"70B o", 8192, 8192}, {"70B gate+up", 57344, 8192}, {"70B down", 8192, 28672},
      {"7B qkv", 4608, 3584},   {"7B o", 3584, 3584},  {"7B gate+up", 37888, 3584},  {"7B down", 3584, 18944}};
  std::vector<int> ms = quick ? std::vector<int>{1, 4, 16, 64, 128, 512, 2048}
                              : std::vector<int>{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};
  if (few) ms = {1, 4};
  const int group = 128;
  std::size_t most_x = 0;
  std::size_t most_y = 0;
  for (const Shape& s : all) {
    most_x = std::max(most_x, static_cast<std::size_t>(s.k));
    most_y = std::max(most_y, static_cast<std::size_t>(s.n));
  }
  Buffer<std::uint16_t> x(most_x * ms.back()), y(most_y * ms.back()), y2(most_y * ms.back()), y3(most_y * ms.back());
  fill_normal<<<1024, 256, 0, stream>>>(x.get(), x.count(), 3, 1.0F, type == Half::kF16);
  const std::size_t dense_bytes = std::size_t{1400} << 20;
  Buffer<std::uint16_t> dense(dense_bytes / 2);
  fill_normal<<<1024, 256, 0, stream>>>(dense.get(), dense.count(), 4, 0.02F, type == Half::kF16);
  Buffer<std::uint8_t> workspace(w4_workspace_bytes({57344, 28672, 128}, 8192));
  AWQ_GPU(cudaMemset(workspace.get(), 0, workspace.count()));
  Buffer<std::uint8_t> stream_memory(std::size_t{1000} << 20);

  std::fprintf(csv, "layer,n,k,m,kernel,us,tb_per_s,tflops,x_cublas\n");
  for (const Shape& s : all) {
    const W4Layout layout{s.n, s.k, group};
    const std::size_t bytes = static_cast<std::size_t>(layout.bytes());
    const int copies =
        static_cast<int>(std::min<std::size_t>(20, std::max<std::size_t>(1, stream_memory.count() / bytes)));
    fill_words<<<1024, 256, 0, stream>>>(reinterpret_cast<std::uint32_t*>(stream_memory.get()), copies * bytes / 4, 5);
    fill_scales<<<1024, 256, 0, stream>>>(stream_memory.get(), copies * bytes / layout.slab_bytes(),
                                          static_cast<int>(layout.slab_bytes()), static_cast<int>(layout.step_groups()),
                                          6);
    AWQ_GPU(cudaStreamSynchronize(stream));
    const std::size_t dense_elements = static_cast<std::size_t>(s.n) * s.k;
    const int dense_copies = static_cast<int>(std::max<std::size_t>(1, dense.count() / dense_elements));
    for (const int m : ms) {
      const double flops = 2.0 * m * s.n * s.k;
      const int launches = static_cast<int>(std::max(2.0, std::min(20.0, 2e13 / flops)));
      double dense_us = 0;
      if (cublas.available()) {
        cublas.run(dense.get(), x.get(), y.get(), m, s.n, s.k, stream);
        dense_us = time_launches(stream, launches, [&](int i) {
          cublas.run(dense.get() + dense_elements * (i % dense_copies), x.get(), y.get(), m, s.n, s.k, stream);
        });
        std::fprintf(csv, "%s,%d,%d,%d,cublas,%.2f,%.3f,%.1f,1\n", s.name, s.n, s.k, m, dense_us,
                     2.0 * dense_elements / dense_us / 1e6, flops / dense_us / 1e6);
      }
      std::vector<std::pair<double, std::string>> results;
      bool have_first = false;
      for (int index = 0; w4_kernel_names()[index] != nullptr; ++index) {
        const std::string name = w4_kernel_names()[index];
        W4Problem problem{.layout = layout,
                          .type = type,
                          .weight = stream_memory.get(),
                          .x = x.get(),
                          .y = have_first ? y2.get() : y.get(),
                          .m = m,
                          .workspace = workspace.get()};
        if (w4_kernel_objection(problem, index) != nullptr) continue;
        // Tiles of tokens far from M are never the best: skip them.
        const int tokens = name.compare(0, 5, "small") == 0 ? 0 : std::atoi(name.c_str() + name.find('-') + 1);
        if (few && tokens != 0) continue;
        if (tokens != 0 && (tokens > 2 * std::max(m, 8) || (tokens < 128 && tokens * 4 < m))) continue;
        if (name.find("cluster") != std::string::npos && m > 128) continue;
        AWQ_GPU(cudaMemsetAsync(problem.y, 0xff, static_cast<std::size_t>(m) * s.n * 2, stream));
        awq::gpu_test::check(w4_linear(problem, stream, index), name.c_str());
        AWQ_GPU(cudaStreamSynchronize(stream));
        if (have_first && m <= 1024) {
          std::vector<std::uint16_t> a(static_cast<std::size_t>(m) * s.n), b(a.size());
          AWQ_GPU(cudaMemcpy(a.data(), y.get(), a.size() * 2, cudaMemcpyDeviceToHost));
          AWQ_GPU(cudaMemcpy(b.data(), y2.get(), b.size() * 2, cudaMemcpyDeviceToHost));
          if (a != b) {
            std::printf("FAIL %s m %d %s: other bits than the first kernel\n", s.name, m, name.c_str());
            continue;
          }
        }
        have_first = true;
        problem.y = y3.get();  // the results that are compared stay
        const double us = time_launches(stream, launches, [&](int i) {
          problem.weight = stream_memory.get() + bytes * static_cast<std::size_t>(i % copies);
          awq::gpu_test::check(w4_linear(problem, stream, index), name.c_str());
        });
        std::fprintf(csv, "%s,%d,%d,%d,%s,%.2f,%.3f,%.1f,%.3f\n", s.name, s.n, s.k, m, name.c_str(), us,
                     bytes / us / 1e6, flops / us / 1e6, dense_us / us);
        results.emplace_back(us, name);
      }
      std::sort(results.begin(), results.end());
      std::printf("%-12s M %5d  cublas %9.1f us %4.0f TF |", s.name, m, dense_us, flops / dense_us / 1e6);
      for (std::size_t i = 0; i < results.size() && i < 3; ++i) {
        std::printf(" %s %.1f us x%.2f (%.2f bw, %.0f TF)", results[i].second.c_str(), results[i].first,
                    dense_us / results[i].first, bytes / results[i].first / 1e6 / copy_rate,
                    flops / results[i].first / 1e6);
      }
      std::printf("\n");
      std::fflush(stdout);
      std::fflush(csv);
    }
  }
  // The output matrix of the 8B shape.
  for (const int m : {1, 16, 64}) {
    const int n = 128256;
    const int k = 4096;
    Buffer<float> logits(static_cast<std::size_t>(m) * n);
    const double us = time_launches(stream, 2, [&](int) {
      awq::gpu_test::check(
          dense_linear({.type = type, .weight = dense.get(), .x = x.get(), .y = logits.get(), .m = m, .n = n, .k = k},
                       stream),
          "dense");
    });
    const double dense_us = time_launches(stream, 2, [&](int) {
      cublas.run(dense.get(), x.get(), reinterpret_cast<std::uint16_t*>(logits.get()), m, n, k, stream);
    });
    std::printf("head 128256 x 4096, M %d: %.1f us, %.2f of copy; cublas (half out) %.1f us\n", m, us,
                2.0 * n * k / us / 1e6 / copy_rate, dense_us);
  }
  std::fclose(csv);
  return 0;
}
