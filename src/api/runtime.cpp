#include "awq/runtime.h"

#include "api/setup.h"
#include "base/check.h"
#include "base/cpu_features.h"
#include "base/stop.h"
#include "device/device.h"
#include "ops/activation_names.h"
#include "ops/gemm.h"

namespace awq {

void set_instruction_set(const std::string& name) { cap_isa(name); }

std::string processor_warning() {
  if (!lacks_vector_instructions()) return {};
  return "this processor has no AVX2 with FMA and F16C: everything runs in scalar code, many times slower";
}

void request_stop(int signal_number) noexcept { stop_flag().request(signal_number); }

int requested_stop() noexcept { return stop_flag().signal_number(); }

void clear_stop() noexcept { stop_flag().clear(); }

namespace api {

int set_up_threads(int threads, int decode_threads) {
  constexpr int kMost = 4096;
  if (threads < 0 || threads > kMost)
    fail(ErrorCode::kInvalidArgument, "--threads {}: expected 1 to {}, or 0 for all", threads, kMost);
  if (decode_threads < 0 || decode_threads > kMost) {
    fail(ErrorCode::kInvalidArgument, "--threads-decode {}: expected 1 to {}, or 0 for those of --threads",
         decode_threads, kMost);
  }
  const int count = threads == 0 ? usable_processors() : threads;
  ops::configure_threads(count, decode_threads);
  return count;
}

void set_up_activations(const std::string& name) {
  ops::set_activation_precision(ops::parse_activation_precision(name));
}

int open_device(const std::string& name, const std::string& head) {
  const int index = device::parse_name(name);
  if (index < 0) return index;
  if (wants_int8_head(head)) {
    fail(ErrorCode::kInvalidArgument, "--head int8: not on a device, which keeps the output matrix in 16 bits");
  }
  device::open(index);
  return index;
}

bool wants_int8_head(const std::string& name) {
  if (name != "stored" && name != "int8") {
    fail(ErrorCode::kInvalidArgument, "--head {}: expected stored or int8", printable(name));
  }
  return name == "int8";
}

}  // namespace api
}  // namespace awq
