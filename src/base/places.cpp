#include "base/places.h"

#include <sched.h>

#include <cstddef>

// Of the OpenMP runtime, which this layer does not need otherwise: a program without it has no places.
extern "C" {
[[gnu::weak]] int omp_get_num_places();
[[gnu::weak]] int omp_get_place_num_procs(int place);
[[gnu::weak]] void omp_get_place_proc_ids(int place, int* ids);
}

namespace awq {

std::vector<int> place_processors() {
  std::vector<int> out;
  if (omp_get_num_places == nullptr || omp_get_place_num_procs == nullptr || omp_get_place_proc_ids == nullptr) {
    return out;
  }
  for (int place = 0; place < omp_get_num_places(); ++place) {
    const std::size_t before = out.size();
    out.resize(before + static_cast<std::size_t>(omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, out.data() + before);
  }
  return out;
}

void leave_place() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const int processor : place_processors()) {
    if (processor >= 0 && processor < CPU_SETSIZE) CPU_SET(static_cast<std::size_t>(processor), &mask);
  }
  if (CPU_COUNT(&mask) > 0) sched_setaffinity(0, sizeof(mask), &mask);  // refused: it stays where it is
}

}  // namespace awq
