#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/float16.h"
#include "device_support.cuh"
#include "kernels/api/cuda_token.h"

/// Random numbers, halves and verdicts of the checks of kernels/api/cuda_token.h.
namespace check {

using awq::gpu_test::DeviceArray;
using awq::kernels::cuda::Half;

inline void require(int error, const char* what) { awq::gpu_test::check(error, what); }

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 1) {}
  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// About normal, of variance 1.
  float normal() {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += uniform() - 0.5;
    return static_cast<float>(sum * std::sqrt(3.0));
  }
  int below(int bound) { return static_cast<int>(bits() % static_cast<std::uint64_t>(bound)); }

 private:
  std::uint64_t state_;
};

inline std::uint16_t to_half(Half type, float value) {
  return type == Half::kF16 ? awq::to_f16(value).bits : awq::to_bf16(value).bits;
}
inline float from_half(Half type, std::uint16_t bits) {
  return type == Half::kF16 ? awq::to_float(awq::F16{bits}) : awq::to_float(awq::Bf16{bits});
}
/// Largest relative error of rounding to the type, and half its smallest step.
inline double rounding(Half type) { return type == Half::kF16 ? 0x1p-11 : 0x1p-8; }
inline double smallest(Half type) { return type == Half::kF16 ? 0x1p-25 : 0x1p-134; }
inline const char* name(Half type) { return type == Half::kF16 ? "f16" : "bf16"; }

inline std::vector<std::uint16_t> random_halves(Half type, std::size_t count, Random& random, float size = 1) {
  std::vector<std::uint16_t> halves(count);
  for (auto& h : halves) h = to_half(type, random.normal() * size);
  return halves;
}
inline std::vector<float> random_floats(std::size_t count, Random& random, float mean = 0, float size = 1) {
  std::vector<float> floats(count);
  for (auto& f : floats) f = mean + random.normal() * size;
  return floats;
}

inline int failures = 0;

/// Prints a line per case and counts what failed.
inline void report(const std::string& what, bool good, const std::string& detail = "") {
  std::printf("%s %s%s%s\n", good ? "ok  " : "FAIL", what.c_str(), detail.empty() ? "" : ": ", detail.c_str());
  if (!good) ++failures;
}

/// The largest error in units of what is allowed; a NaN is beyond everything.
class Errors {
 public:
  void add(double got, double expected, double allowed) {
    const double error = std::fabs(got - expected);
    const double ratio = allowed > 0 ? error / allowed : error == 0 ? 0 : 1e30;
    worst_ = std::isnan(ratio) ? 1e30 : std::max(worst_, ratio);
    ++count_;
  }
  void report(const std::string& what) const {
    char detail[80];
    std::snprintf(detail, sizeof detail, "%.3g of the tolerance over %zu values", worst_, count_);
    check::report(what, worst_ <= 1 && count_ > 0, detail);
  }

 private:
  double worst_ = 0;
  std::size_t count_ = 0;
};

}  // namespace check
