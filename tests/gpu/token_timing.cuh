#pragma once

#include <cuda_bf16.h>

#include <functional>

#include "token_check_support.cuh"

namespace check {

/// Median time in microseconds of one of `calls` launches of a graph that holds them all.
inline double time_graph(int calls, const std::function<void(int, cudaStream_t)>& enqueue) {
  cudaStream_t stream = nullptr;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < calls; ++i) enqueue(i, stream);
  require(cudaStreamEndCapture(stream, &graph), "capture");
  require(cudaGraphInstantiate(&executable, graph, 0), "graph");
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  require(cudaEventCreate(&begin), "event");
  require(cudaEventCreate(&end), "event");
  std::vector<double> times;
  for (int i = 0; i < 8; ++i) {
    require(cudaEventRecord(begin, stream), "record");
    require(cudaGraphLaunch(executable, stream), "launch");
    require(cudaEventRecord(end, stream), "record");
    require(cudaEventSynchronize(end), "timing");
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, begin, end), "timing");
    if (i > 0) times.push_back(milliseconds * 1e3 / calls);  // the first one warms up
  }
  require(cudaEventDestroy(begin), "event");
  require(cudaEventDestroy(end), "event");
  require(cudaGraphExecDestroy(executable), "graph");
  require(cudaGraphDestroy(graph), "graph");
  require(cudaStreamDestroy(stream), "stream");
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

inline void print_time(const std::string& what, double microseconds, double bytes, double operations) {
  std::printf("%-58s %9.2f us", what.c_str(), microseconds);
  if (bytes > 0) std::printf("  %7.0f GB/s", bytes / microseconds * 1e-3);
  if (operations > 0) std::printf("  %6.1f TFLOP/s", operations / microseconds * 1e-6);
  std::printf("\n");
}

/// Numbers of size 1 as halves: times depend on the data through the power they take.
static __global__ void fill_kernel(std::uint16_t* to, std::size_t count) {
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<std::size_t>(gridDim.x) * blockDim.x) {
    std::uint32_t z = static_cast<std::uint32_t>(i) * 2654435761U + 12345U;
    z ^= z >> 15;
    z *= 0x2c1b3c6dU;
    z ^= z >> 13;
    to[i] = __bfloat16_as_ushort(__float2bfloat16_rn(static_cast<float>(z >> 8) * 0x1p-22F - 2.0F));
  }
}

inline void fill(const DeviceArray<std::uint16_t>& array) {
  fill_kernel<<<1024, 256>>>(array.data(), array.size());
  require(cudaGetLastError(), "fill");
}

inline std::string prefix(awq::kernels::cuda::CacheType type) {
  using awq::kernels::cuda::CacheType;
  return type == CacheType::kHalf ? "" : type == CacheType::kE4M3 ? "fp8 " : "int8 ";
}

/// `sequences` of `length` tokens each, the last `queries` of them new.
inline void time_attention(int sequences, int length, int queries, int num_heads, int num_kv_heads, int dim,
                           awq::kernels::cuda::CacheType type) {
  namespace cuda = awq::kernels::cuda;
  const int per_sequence = (length + 15) / 16;
  const std::size_t layer =
      static_cast<std::size_t>(sequences) * per_sequence * num_kv_heads * cuda::kv_head_bytes(type, dim);
  // Many layers, so that the level-2 cache does not hold their keys.
  const int layers = static_cast<int>(std::max<std::size_t>(1, (256ULL << 20) / layer));
  const DeviceArray<std::uint16_t> cache(layer / 2 * layers);
  fill(cache);  // as codes and scales these are some numbers, too
  Random random(7);
  std::vector<std::int32_t> tables(static_cast<std::size_t>(sequences) * per_sequence);
  for (std::size_t i = 0; i < tables.size(); ++i) tables[i] = static_cast<std::int32_t>(i);
  for (std::size_t i = tables.size(); i > 1; --i) std::swap(tables[i - 1], tables[random.below(static_cast<int>(i))]);
  std::vector<std::int32_t> begin;
  std::vector<std::int32_t> owner;
  for (int s = 0; s <= sequences; ++s) begin.push_back(s * queries);
  for (int t = 0; t < sequences * queries; ++t) owner.push_back(t / queries);
  const DeviceArray<std::int32_t> device_tables(tables);
  const DeviceArray<std::int32_t> device_begin(begin);
  const DeviceArray<std::int32_t> device_past(std::vector<std::int32_t>(sequences, length - queries));
  const DeviceArray<std::int32_t> device_owner(owner);
  cuda::SequenceBatch batch;
  batch.sequences = sequences;
  batch.tokens = sequences * queries;
  batch.max_queries = queries;
  batch.max_length = length;
  batch.query_begin = device_begin.data();
  batch.past = device_past.data();
  batch.blocks = device_tables.data();
  batch.block_stride = per_sequence;
  batch.token_sequence = device_owner.data();
  const int width = (num_heads + 2 * num_kv_heads) * dim;
  const DeviceArray<std::uint16_t> qkv(static_cast<std::size_t>(batch.tokens) * width);
  const DeviceArray<std::uint16_t> out(static_cast<std::size_t>(batch.tokens) * num_heads * dim);
  fill(qkv);
  const DeviceArray<unsigned char> workspace(
      cuda::attention_workspace_bytes(num_heads, dim, sequences, batch.tokens, length));
  cuda::AttentionProblem problem;
  problem.num_heads = num_heads;
  problem.scale = 1 / std::sqrt(static_cast<float>(dim));
  problem.q = qkv.data();
  problem.q_stride = width;
  problem.out = out.data();
  const double time = time_graph(std::max(layers, 4), [&](int i, cudaStream_t stream) {
    const cuda::KvBlocks kv = {cache.data() + i % layers * (layer / 2), num_kv_heads, dim, type};
    require(cuda::attention(problem, batch, kv, workspace.data(), stream), "attention");
  });
  const double keys = static_cast<double>(length) - (queries - 1) / 2.0;  // that a query sees on average
  const double operations = 4.0 * sequences * queries * keys * num_heads * dim;
  const double bytes =
      static_cast<double>(sequences) * length / 16 * num_kv_heads * static_cast<double>(cuda::kv_head_bytes(type, dim));
  print_time(prefix(type) + "attention " + std::to_string(sequences) + " x " + std::to_string(length) + " tokens, " +
                 std::to_string(queries) + " new, " + std::to_string(num_heads) + "/" + std::to_string(num_kv_heads) +
                 " x " + std::to_string(dim),
             time, queries <= 16 ? bytes : 0, operations);
}

/// The kernels of a row, on `tokens` rows of an 8B model; memory is taken anew for every launch of the graph.
inline void time_rows(int tokens) {
  namespace cuda = awq::kernels::cuda;
  constexpr Half kType = Half::kBf16;
  const std::int64_t width = 4096;
  const std::int64_t inner = 14336;
  const int heads = 32;
  const int kv_heads = 8;
  const int dim = 128;
  const auto rows = static_cast<std::size_t>(tokens);
  const int copies = tokens >= 1024 ? 4 : 16;
  Random random(1);
  const DeviceArray<float> hidden(random_floats(rows * width, random));
  const DeviceArray<float> weight(random_floats(width, random, 1, 0.1F));
  const DeviceArray<std::uint16_t> branch(rows * width * copies);
  const DeviceArray<std::uint16_t> y(rows * inner);
  const DeviceArray<std::uint16_t> gate_up(rows * 2 * inner * copies);
  const DeviceArray<std::uint16_t> table(static_cast<std::size_t>(1000) * width);
  const DeviceArray<std::uint16_t> qkv(rows * (heads + 2 * kv_heads) * dim * copies);
  const DeviceArray<std::uint16_t> cache((rows + 16) * kv_heads * 2 * dim);
  for (const auto* array : {&branch, &gate_up, &table, &qkv}) fill(*array);
  std::vector<std::int32_t> ids(tokens);
  std::vector<std::int32_t> blocks(tokens / 16 + 1);
  for (auto& id : ids) id = random.below(1000);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::int32_t>(i);
  const DeviceArray<std::int32_t> device_ids(ids);
  const DeviceArray<std::int32_t> device_blocks(blocks);
  const DeviceArray<std::int32_t> begin(std::vector<std::int32_t>{0, tokens});
  const DeviceArray<std::int32_t> past(std::vector<std::int32_t>{0});
  const DeviceArray<std::int32_t> owner(std::vector<std::int32_t>(tokens, 0));
  const DeviceArray<float> angles(random_floats(rows * dim / 2, random));
  cuda::SequenceBatch batch;
  batch.sequences = 1;
  batch.tokens = tokens;
  batch.max_queries = tokens;
  batch.max_length = tokens;
  batch.query_begin = begin.data();
  batch.past = past.data();
  batch.blocks = device_blocks.data();
  batch.block_stride = static_cast<std::int32_t>(blocks.size());
  batch.token_sequence = owner.data();
  const std::string label = " of " + std::to_string(tokens) + " rows";
  const double cells = static_cast<double>(tokens) * static_cast<double>(width);
  const double inners = static_cast<double>(tokens) * static_cast<double>(inner);

  print_time("embed" + label,
             time_graph(copies,
                        [&](int, cudaStream_t stream) {
                          require(
                              cuda::embed(kType, table.data(), device_ids.data(), tokens, width, hidden.data(), stream),
                              "");
                        }),
             cells * 6, 0);
  print_time("rms_norm" + label,
             time_graph(copies,
                        [&](int, cudaStream_t stream) {
                          require(cuda::rms_norm(kType, hidden.data(), nullptr, weight.data(), 1e-5F, tokens, width,
                                                 y.data(), stream),
                                  "");
                        }),
             cells * 6, 0);
  print_time("add_rms_norm" + label,
             time_graph(copies,
                        [&](int i, cudaStream_t stream) {
                          require(cuda::add_rms_norm(kType, hidden.data(), branch.data() + i * rows * width,
                                                     weight.data(), 1e-5F, tokens, width, y.data(), stream),
                                  "");
                        }),
             cells * 12, 0);
  print_time("silu_multiply" + label,
             time_graph(copies,
                        [&](int i, cudaStream_t stream) {
                          require(cuda::silu_multiply(kType, gate_up.data() + i * rows * 2 * inner, tokens, inner,
                                                      y.data(), stream),
                                  "");
                        }),
             inners * 6, 0);
  for (const auto type : {cuda::CacheType::kHalf, cuda::CacheType::kE4M3, cuda::CacheType::kInt8}) {
    const cuda::KvBlocks kv = {cache.data(), kv_heads, dim, type};
    print_time(prefix(type) + "rope_and_store" + label,
               time_graph(copies,
                          [&](int i, cudaStream_t stream) {
                            require(cuda::rope_and_store(
                                        kType, qkv.data() + i * rows * (heads + 2 * kv_heads) * dim, heads, batch,
                                        {.cosines = angles.data(), .sines = angles.data(), .eps = 1e-5F}, kv, stream),
                                    "");
                          }),
               static_cast<double>(tokens) * 4 * (heads + 2 * kv_heads) * dim, 0);
  }
  if (tokens > 64) return;
  const std::int64_t vocab = 128256;
  const DeviceArray<float> logits(random_floats(vocab, random));
  const DeviceArray<float> all(rows * vocab * 4);
  for (std::size_t r = 0; r < rows * 4; ++r) {
    require(cudaMemcpy(all.data() + r * vocab, logits.data(), vocab * 4, cudaMemcpyDeviceToDevice), "copy");
  }
  const DeviceArray<std::int32_t> best(rows);
  print_time("argmax" + label,
             time_graph(copies,
                        [&](int i, cudaStream_t stream) {
                          require(cuda::argmax(all.data() + i % 4 * rows * vocab, tokens, vocab, best.data(), stream),
                                  "");
                        }),
             static_cast<double>(tokens) * static_cast<double>(vocab) * 4, 0);
  for (const bool filtered : {false, true}) {
    awq::kernels::DrawRule rule{.factor = 1, .bits = random.bits()};
    if (filtered) rule.top_k = 50;
    if (filtered) rule.top_p = 0.9;
    const DeviceArray<awq::kernels::DrawRule> rules(std::vector<awq::kernels::DrawRule>(tokens, rule));
    print_time((filtered ? "draw, top_k and top_p" : "draw") + label,
               time_graph(copies,
                          [&](int i, cudaStream_t stream) {
                            require(cuda::draw(all.data() + i % 4 * rows * vocab, nullptr, rules.data(), tokens, vocab,
                                               best.data(), stream),
                                    "");
                          }),
               static_cast<double>(tokens) * static_cast<double>(vocab) * 4, 0);
  }
}

inline void time_all() {
  for (const int tokens : {1, 64, 2048}) time_rows(tokens);
  using awq::kernels::cuda::CacheType;
  for (const auto type : {CacheType::kHalf, CacheType::kE4M3, CacheType::kInt8}) {
    time_attention(1, 512, 1, 32, 8, 128, type);
    time_attention(1, 2048, 1, 32, 8, 128, type);
    time_attention(1, 8192, 1, 32, 8, 128, type);
    time_attention(1, 32768, 1, 32, 8, 128, type);
    time_attention(8, 2048, 1, 32, 8, 128, type);
    time_attention(64, 2048, 1, 32, 8, 128, type);
    time_attention(64, 2048, 1, 64, 8, 128, type);
    time_attention(64, 2048, 4, 32, 8, 128, type);
    time_attention(64, 2048, 1, 32, 8, 64, type);
    time_attention(1, 2048, 2048, 32, 8, 128, type);
    time_attention(4, 2048, 2048, 32, 8, 128, type);
    time_attention(1, 8192, 8192, 32, 8, 128, type);
    time_attention(1, 8192, 512, 32, 8, 128, type);
    time_attention(4, 2048, 2048, 32, 8, 64, type);
  }
}

}  // namespace check
