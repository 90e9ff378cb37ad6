#pragma once

#include <vector>

namespace awq {

/// With OMP_PROC_BIND or GOMP_CPU_AFFINITY the OpenMP runtime binds the first thread to one place before main() runs,
/// and whatever that thread starts inherits it. These are the processors of all places, which the process may use;
/// empty where threads are not bound.
std::vector<int> place_processors();
/// Lets the calling thread, and those that it starts from now on, run on all of them. A thread that leads a team is
/// bound again with it.
void leave_place();

}  // namespace awq
