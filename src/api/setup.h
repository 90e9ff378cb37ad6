#pragma once

namespace awq::api {

/// Sets the number of threads (0: all that the process may use) for the work that follows; returns it.
int set_up_threads(int threads);

}  // namespace awq::api
