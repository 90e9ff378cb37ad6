#include "bench/machine.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>

#include "base/cpu_features.h"
#include "base/resources.h"
#include "base/stop.h"
#include "kernels/api/peak.h"
#if defined(__x86_64__)
#include <sys/syscall.h>
#endif

namespace awq::bench {
namespace {

constexpr std::uint64_t kDefaultBytes = std::uint64_t{1} << 30;
constexpr std::int64_t kLineWords = 8;  // of 64 bytes

std::uint64_t default_bytes() {
  std::uint64_t bytes = kDefaultBytes;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  bytes = std::max(bytes, 4 * static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE))));
#endif
  if (const auto available = available_memory_bytes()) bytes = std::min(bytes, *available / 4);
  return std::max<std::uint64_t>(bytes, 1 << 20);
}

/// Sum of a range, a cache line per step. The compiler turns the eight sums into vectors.
std::uint64_t sum_range(const std::uint64_t* p, std::int64_t words) {
  std::uint64_t s[kLineWords] = {};
  for (std::int64_t i = 0; i < words; i += kLineWords) {
    for (std::int64_t j = 0; j < kLineWords; ++j) s[j] += p[i + j];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t part : s) total += part;
  return total;
}

template <int kStreams>
std::uint64_t sum_streams(const std::uint64_t* p, std::int64_t words, std::int64_t ahead) {
  const std::int64_t each = words / kStreams / kLineWords * kLineWords;
  std::uint64_t s[kLineWords] = {};
  for (std::int64_t i = 0; i < each; i += kLineWords) {
    for (int stream = 0; stream < kStreams; ++stream) {
      const std::uint64_t* at = p + stream * each + i;
      if (ahead > 0) __builtin_prefetch(at + ahead);  // past the end is harmless
      for (std::int64_t j = 0; j < kLineWords; ++j) s[j] += at[j];
    }
  }
  std::uint64_t total = 0;
  for (const std::uint64_t part : s) total += part;
  return total;
}

/// Keeps a value alive without writing it anywhere.
void keep(std::uint64_t value) { __asm__ volatile("" : : "r"(value)); }
void keep(float value) { __asm__ volatile("" : : "m"(value)); }

/// Runs body(first word, words) on every thread over its share; seconds that the slowest took.
template <typename Body>
double timed_shares(std::int64_t words, Body body) {
  double seconds = 0;
#pragma omp parallel reduction(max : seconds)
  {
    const std::int64_t threads = omp_get_num_threads();
    const std::int64_t lines = words / kLineWords;
    const std::int64_t begin = lines * omp_get_thread_num() / threads * kLineWords;
    const std::int64_t end = lines * (omp_get_thread_num() + 1) / threads * kLineWords;
#pragma omp barrier
    const double start = monotonic_seconds();
    keep(body(begin, end - begin));
    seconds = monotonic_seconds() - start;
  }
  return seconds;
}

void allow_tiles() {
#if defined(__x86_64__) && defined(SYS_arch_prctl)
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  syscall(SYS_arch_prctl, kRequestPermission, kTileData);
#endif
}

double measure_peak(const kernels::PeakKernel& kernel) {
  constexpr double kSeconds = 0.1;
  // Long enough that the clock does not matter, found by doubling on one thread.
  std::int64_t steps = 1 << 12;
  for (double seconds = 0; seconds < kSeconds / 8; steps *= 2) {
    const double start = monotonic_seconds();
    keep(kernel.run(steps));
    seconds = monotonic_seconds() - start;
  }
  std::vector<double> rates;
  for (int repetition = 0; repetition < 5; ++repetition) {
    double seconds = 0;
    int threads = 1;
#pragma omp parallel reduction(max : seconds)
    {
#pragma omp single
      threads = omp_get_num_threads();
      const double start = monotonic_seconds();
      keep(kernel.run(steps * 2));
      seconds = monotonic_seconds() - start;
    }
    rates.push_back(static_cast<double>(kernel.step_operations) * static_cast<double>(steps * 2) * threads / seconds);
  }
  return median(rates);
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

ReadMeter::ReadMeter(std::uint64_t bytes) : buffer_((bytes == 0 ? default_bytes() : bytes) / 64 * kLineWords) {
  // Untouched memory is one page of zeros, which every cache holds.
  timed_shares(static_cast<std::int64_t>(buffer_.size()), [&](std::int64_t begin, std::int64_t words) {
    for (std::int64_t i = begin; i < begin + words; ++i)
      buffer_[static_cast<std::size_t>(i)] = static_cast<std::uint64_t>(i);
    return std::uint64_t{0};
  });
}

double ReadMeter::plain_pass() const {
  stop_flag().throw_if_requested();
  const double seconds =
      timed_shares(static_cast<std::int64_t>(buffer_.size()),
                   [&](std::int64_t begin, std::int64_t words) { return sum_range(buffer_.data() + begin, words); });
  return static_cast<double>(bytes()) / seconds;
}

double ReadMeter::plain(int passes) const {
  std::vector<double> rates;
  rates.reserve(static_cast<std::size_t>(passes));
  for (int i = 0; i < passes; ++i) rates.push_back(plain_pass());
  return median(rates);
}

double ReadMeter::stream_pass(int streams, int prefetch_bytes) const {
  stop_flag().throw_if_requested();
  const std::int64_t ahead = prefetch_bytes / 8;
  const double seconds =
      timed_shares(static_cast<std::int64_t>(buffer_.size()), [&](std::int64_t begin, std::int64_t words) {
        const std::uint64_t* p = buffer_.data() + begin;
        if (streams == 1) return sum_streams<1>(p, words, ahead);
        if (streams == 2) return sum_streams<2>(p, words, ahead);
        if (streams == 4) return sum_streams<4>(p, words, ahead);
        return sum_streams<8>(p, words, ahead);
      });
  return static_cast<double>(bytes()) / seconds;
}

StreamReader ReadMeter::best() const {
  StreamReader best;
  for (const int streams : {1, 2, 4, 8}) {
    for (const int prefetch : {0, 512, 1024, 2048, 4096}) {
      std::vector<double> rates;
      rates.reserve(3);
      for (int i = 0; i < 3; ++i) rates.push_back(stream_pass(streams, prefetch));
      const double rate = median(rates);
      if (rate > best.bytes_per_s) best = {.streams = streams, .prefetch_bytes = prefetch, .bytes_per_s = rate};
    }
  }
  return best;
}

std::vector<Peak> measure_peaks() {
  if (active_isa() >= Isa::kAmx) allow_tiles();
  std::vector<Peak> out;
  for (const kernels::PeakKernel* row = kernels::peak_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->min_isa > static_cast<std::uint8_t>(active_isa()) || (row->needs_bf16 && !has_native_bf16())) continue;
    stop_flag().throw_if_requested();
    const Peak peak{.kernel = row->name, .arithmetic = row->arithmetic, .operations_per_s = measure_peak(*row)};
    const auto same =
        std::find_if(out.begin(), out.end(), [&](const Peak& p) { return p.arithmetic == peak.arithmetic; });
    if (same == out.end()) {
      out.push_back(peak);
    } else if (same->operations_per_s < peak.operations_per_s) {
      *same = peak;
    }
  }
  return out;
}

double peak_of(std::span<const Peak> peaks, const std::string& arithmetic) {
  for (const Peak& peak : peaks) {
    if (peak.arithmetic == arithmetic) return peak.operations_per_s;
  }
  return 0;
}

}  // namespace awq::bench
