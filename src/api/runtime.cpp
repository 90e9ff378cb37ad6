#include "awq/runtime.h"

#include "api/setup.h"
#include "base/check.h"
#include "base/cpu_features.h"
#include "base/stop.h"
#include "ops/gemm.h"

namespace awq {

void set_instruction_set(const std::string& name) { cap_isa(name); }

void request_stop(int signal_number) noexcept { stop_flag().request(signal_number); }

int requested_stop() noexcept { return stop_flag().signal_number(); }

namespace api {

int set_up_threads(int threads) {
  if (threads < 0 || threads > 4096)
    fail(ErrorCode::kInvalidArgument, "--threads {}: expected 1 to 4096, or 0 for all", threads);
  const int count = threads == 0 ? usable_processors() : threads;
  ops::configure_threads(count);
  return count;
}

}  // namespace api
}  // namespace awq
