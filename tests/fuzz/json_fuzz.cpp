// The strict JSON reader. What it accepts must be accepted again, with the same content, after being written out.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "awq/error.h"
#include "file/json.h"

namespace {

template <typename J>
void read(std::string_view text) {
  try {
    const J document = awq::file::parse_json<J>(text, "fuzz", {.max_depth = 32, .max_bytes = 1 << 20});
    const std::string written = document.dump();
    const J again = awq::file::parse_json<J>(written, "written", {.max_depth = 32, .max_bytes = 1 << 24});
    if (again != document || again.dump() != written) std::abort();
  } catch (const awq::Error& error) {
    if (error.code() != awq::ErrorCode::kCorruptFile) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read<awq::file::Json>(text);
  read<awq::file::OrderedJson>(text);
  return 0;
}
