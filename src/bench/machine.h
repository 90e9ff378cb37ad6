#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"

namespace awq::bench {

double median(std::vector<double> values);

/// The best of the readers that keep several places in flight.
struct StreamReader {
  int streams = 1;
  int prefetch_bytes = 0;  ///< how far ahead of each stream; 0: none
  double bytes_per_s = 0;
};

/// Reads a buffer that no cache holds, as fast as all threads can. It is kept, so that the plain loop can be repeated
/// beside each measurement that is compared with it: the speed of a shared machine drifts.
class ReadMeter {
 public:
  /// `bytes` of memory; 0: 1 GiB or four times the last cache, whichever is more, at most a quarter of what is free.
  explicit ReadMeter(std::uint64_t bytes = 0);
  std::uint64_t bytes() const { return buffer_.size() * sizeof(std::uint64_t); }

  /// One pass of a plain sequential loop, each thread over a range of its own: bytes per second.
  double plain_pass() const;
  /// Median of `passes`.
  double plain(int passes = 5) const;
  /// Tries numbers of streams and prefetch distances; the fastest.
  StreamReader best() const;

 private:
  double stream_pass(int streams, int prefetch_bytes) const;
  AlignedBuffer<std::uint64_t> buffer_;
};

/// Register-resident loops on all threads.
struct Peak {
  std::string kernel;
  std::string arithmetic;  ///< "fp32", "bf16" or "int8"
  double operations_per_s = 0;
};
/// One entry per arithmetic that the processor (and --isa) allows: the fastest loop.
std::vector<Peak> measure_peaks();
/// The entry for an arithmetic; 0 when there is none.
double peak_of(std::span<const Peak> peaks, const std::string& arithmetic);

}  // namespace awq::bench
