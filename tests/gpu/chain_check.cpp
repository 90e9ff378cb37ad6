// Chains of 4-bit linears on small random shapes with tails, bit by bit what the kernels give that they stand for
// (whose own checks are w4_check and w4_emulated_check). chain_check DEVICE [SEED]: status 1 when something failed, 77
// when there is no device. Runs on the emulated device too.

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "device/device.h"
#include "device/memory.h"
#include "kernels/api/cuda_chain.h"
#include "kernels/api/cuda_linear.h"
#include "kernels/api/cuda_token.h"

namespace {

using namespace awq;
using namespace awq::kernels;
using namespace awq::kernels::cuda;

int failures = 0, chains = 0;
std::uint64_t seed = 1, drawn = 0;

void expect(bool good, const std::string& what) {
  if (good) return;
  fmt::print("FAIL {}\n", what);
  ++failures;
}
double draw() { return uniform(seed, drawn++); }
float draw_normal() { return static_cast<float>((draw() + draw() + draw() + draw() - 2) * 1.7); }
std::int64_t draw_index(std::int64_t count) { return static_cast<std::int64_t>(draw() * static_cast<double>(count)); }

std::uint16_t narrow(Half type, float v) { return type == Half::kF16 ? to_f16(v).bits : to_bf16(v).bits; }

template <typename T>
class OnDevice {
 public:
  explicit OnDevice(std::size_t count) : count_(count), buffer_(std::max<std::size_t>(count, 1) * sizeof(T)) {}
  explicit OnDevice(const std::vector<T>& values) : OnDevice(values.size()) { upload(values); }
  void upload(const std::vector<T>& values) {
    device::upload(buffer_.data(), values.data(), values.size() * sizeof(T));
  }
  /// A NaN of every floating-point type.
  void poison() {
    upload(std::vector<T>(count_, [] {
      T v;
      std::memset(&v, 0xff, sizeof(v));
      return v;
    }()));
  }
  std::vector<T> download() const {
    std::vector<T> out(count_);
    device::download(out.data(), buffer_.data(), count_ * sizeof(T));
    return out;
  }
  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }

 private:
  std::size_t count_;
  device::Buffer buffer_;
};

/// A random weight, packed, and what it says in plain numbers.
struct Weight {
  W4Layout layout;
  std::vector<std::uint8_t> codes, zeros;
  std::vector<float> scales, bias;
  OnDevice<std::uint8_t> packed;
  OnDevice<float> device_bias;

  Weight(std::int64_t n, std::int64_t k, std::int64_t group, bool with_bias)
      : layout{n, k, group},
        packed(static_cast<std::size_t>(layout.bytes())),
        device_bias(static_cast<std::size_t>(n)) {
    const std::int64_t groups = (k + group - 1) / group;
    codes.resize(static_cast<std::size_t>(n * k));
    zeros.resize(static_cast<std::size_t>(n * groups));
    scales.resize(static_cast<std::size_t>(n * groups));
    for (std::uint8_t& c : codes) c = static_cast<std::uint8_t>(draw_index(16));
    for (std::uint8_t& z : zeros) z = static_cast<std::uint8_t>(draw_index(16));
    const double size = 0.3 / std::sqrt(static_cast<double>(k));
    for (float& s : scales) s = to_float(to_f16(static_cast<float>(size * (0.2 + draw()))));
    if (with_bias) {
      bias.resize(static_cast<std::size_t>(n));
      for (float& b : bias) b = draw_normal();
      device_bias.upload(bias);
    }
    std::vector<std::uint8_t> stream(static_cast<std::size_t>(layout.bytes()));
    const PackSource source{.codes = codes.data(), .scales = scales.data(), .zero_points = zeros.data()};
    for (std::int64_t s = 0; s < layout.strips(); ++s) {
      w4_pack_strip(layout, source, s, stream.data() + s * layout.strip_bytes());
    }
    packed.upload(stream);
  }
  const float* bias_data() const { return bias.empty() ? nullptr : device_bias.data(); }
  W4Link link() const { return {.layout = layout, .weight = packed.data(), .bias = bias_data()}; }
};

OnDevice<std::uint16_t> draw_tokens(Half type, std::int64_t m, std::int64_t k) {
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(m * k));
  for (std::uint16_t& v : bits) v = narrow(type, draw_normal());
  return OnDevice<std::uint16_t>(bits);
}

/// Scratch of any product, zero at first.
class Workspace {
 public:
  void* of(const W4Layout& layout, std::int64_t m) {
    const std::size_t bytes = w4_workspace_bytes(layout, m);
    if (bytes > bytes_) {
      buffer_ = device::Buffer(bytes);
      const std::vector<std::uint8_t> zeros(bytes);
      device::upload(buffer_.data(), zeros.data(), bytes);
      bytes_ = bytes;
    }
    return bytes_ == 0 ? nullptr : buffer_.data();
  }

 private:
  device::Buffer buffer_;
  std::size_t bytes_ = 0;
};

struct ChainCase {
  std::int64_t attended, hidden, inner, qkv, group;  ///< qkv 0: the chain ends before
  bool bias;
};

void check_chain(Half type, const ChainCase& c, std::int64_t m, const device::Stream& stream) {
  const Weight o(c.hidden, c.attended, c.group, c.bias), gate_up(2 * c.inner, c.hidden, c.group, c.bias);
  const Weight down(c.hidden, c.inner, c.group, c.bias),
      qkv(std::max<std::int64_t>(c.qkv, 16), c.hidden, c.group, c.bias);
  const OnDevice<std::uint16_t> attended = draw_tokens(type, m, c.attended);
  const auto size = [&](std::int64_t width) { return static_cast<std::size_t>(m * width); };
  std::vector<float> hidden(size(c.hidden)), norms(static_cast<std::size_t>(2 * c.hidden));
  for (float& v : hidden) v = draw_normal();
  for (float& v : norms) v = 1 + draw_normal() / 4;
  const OnDevice<float> device_norms(norms);
  const float eps = 1e-5F;

  OnDevice<float> plain_hidden(hidden), chain_hidden(hidden);
  OnDevice<std::uint16_t> branch(size(c.hidden)), normed(size(c.hidden)), product(size(c.inner));
  OnDevice<std::uint16_t> both(size(2 * c.inner)), plain_qkv(size(qkv.layout.n)), chain_qkv(size(qkv.layout.n));
  plain_qkv.poison();
  chain_qkv.poison();
  Workspace scratch;
  const auto apply = [&](const Weight& weight, const std::uint16_t* x, std::uint16_t* y) {
    const W4Problem problem{.layout = weight.layout,
                            .type = type,
                            .weight = weight.packed.data(),
                            .bias = weight.bias_data(),
                            .x = x,
                            .y = y,
                            .m = m,
                            .workspace = scratch.of(weight.layout, m)};
    device::check(w4_linear(problem, stream.get()), "a linear");
  };
  const auto add_norm = [&](const float* norm) {
    device::check(
        add_rms_norm(type, plain_hidden.data(), branch.data(), norm, eps, m, c.hidden, normed.data(), stream.get()),
        "a norm");
  };
  apply(o, attended.data(), branch.data());
  add_norm(device_norms.data());
  apply(gate_up, normed.data(), both.data());
  device::check(silu_multiply(type, both.data(), m, c.inner, product.data(), stream.get()), "silu");
  apply(down, product.data(), branch.data());
  add_norm(c.qkv != 0 ? device_norms.data() + c.hidden : nullptr);
  if (c.qkv != 0) apply(qkv, normed.data(), plain_qkv.data());

  const std::vector<std::uint8_t> nothing(kW4ChainWorkspaceBytes);
  const OnDevice<std::uint8_t> workspace(nothing);
  product.poison();
  W4Chain chain{.type = type,
                .m = m,
                .o = o.link(),
                .gate_up = gate_up.link(),
                .down = down.link(),
                .attended = attended.data(),
                .hidden = chain_hidden.data(),
                .mlp_norm = device_norms.data(),
                .eps = eps,
                .product = product.data(),
                .workspace = workspace.data()};
  if (c.qkv != 0) {
    chain.qkv = qkv.link();
    chain.next_norm = device_norms.data() + c.hidden;
    chain.qkv_out = chain_qkv.data();
  }
  const std::string what =
      fmt::format("chain {} attended {} hidden {} inner {} qkv {} group {} m {}", type == Half::kF16 ? "f16" : "bf16",
                  c.attended, c.hidden, c.inner, c.qkv, c.group, m);
  if (const char* reason = w4_chain_objection(chain); reason != nullptr) {
    return expect(false, fmt::format("{}: {}", what, reason));
  }
  for (int turn = 0; turn < 2; ++turn) {  // the second one finds the counters as the first one leaves them
    chain_hidden.upload(hidden);
    device::check(w4_chain(chain, stream.get()), what.c_str());
    stream.synchronize();
    ++chains;
    expect(chain_hidden.download() == plain_hidden.download(), what + ": another hidden state");
    expect(chain_qkv.download() == plain_qkv.download(), what + ": another input of attention");
    expect(workspace.download() == nothing, what + ": counters are left");
  }
}

void run() {
  const device::Stream stream;
  for (const Half type : {Half::kF16, Half::kBf16}) {
    for (const std::int64_t m : {1, 2, 3, 6}) {
      check_chain(type, {256, 384, 512, 384 + 40, 128, true}, m, stream);
      check_chain(type, {64, 128, 16 + 16 * draw_index(9), 24, 64, false}, m, stream);
      check_chain(type, {72, 8 + 8 * draw_index(30), 48, 0, 32, m % 2 == 0}, m, stream);
    }
    // Two, four and eight leaves.
    check_chain(type, {1536, 128, 3072, 128, 128, false}, 1, stream);
    check_chain(type, {128, 3080, 32, 16, 128, true}, 2, stream);
    check_chain(type, {6144, 64, 64, 16, 128, false}, 1, stream);
    check_chain(type, {64, 6144, 32, 0, 128, true}, 1, stream);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: chain_check DEVICE [SEED]\n");
    return 2;
  }
  if (device::count() == 0) {
    fmt::print("skipped: no NVIDIA device, or a build without CUDA\n");
    return 77;
  }
  if (argc > 2) seed = std::stoull(argv[2]);
  try {
    const bool emulated = std::string_view(argv[1]) == "emulated";
    device::open(emulated ? 0 : std::max(0, device::parse_name(argv[1])));
    run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "chain_check: {}\n", error.what());
    return 1;
  }
  fmt::print("{} chains, {} failures\n", chains, failures);
  return failures == 0 ? 0 : 1;
}
