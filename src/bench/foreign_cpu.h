#pragma once

namespace awq::bench {

/// How much processor time other programs took since the watch was made: a measurement beside them is no measurement.
class ForeignCpuWatch {
 public:
  ForeignCpuWatch();
  /// Share of all processors' time, 0 to 1; 0 where the system does not tell.
  double share() const;

 private:
  double start_seconds_;
  double start_busy_;
  double start_own_;
};

}  // namespace awq::bench
