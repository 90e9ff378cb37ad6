#include "bench/foreign_cpu.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/resources.h"

namespace awq::bench {
namespace {

/// Seconds that all processors of the machine spent on anything, stolen time included (it is somebody else's).
double busy_seconds() {
  std::ifstream file("/proc/stat");
  std::string label;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, interrupt = 0, soft = 0, steal = 0;
  if (!(file >> label >> user >> nice >> system >> idle >> wait >> interrupt >> soft >> steal)) return 0;
  return (user + nice + system + interrupt + soft + steal) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

ForeignCpuWatch::ForeignCpuWatch()
    : start_seconds_(monotonic_seconds()), start_busy_(busy_seconds()), start_own_(own_seconds()) {}

double ForeignCpuWatch::share() const {
  const double elapsed = monotonic_seconds() - start_seconds_;
  const double processors = static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  const double foreign = (busy_seconds() - start_busy_) - (own_seconds() - start_own_);
  return elapsed > 0 ? std::clamp(foreign / (elapsed * processors), 0.0, 1.0) : 0.0;
}

}  // namespace awq::bench
