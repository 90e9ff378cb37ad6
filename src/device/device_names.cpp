#include <charconv>

#include "base/check.h"
#include "device/device.h"

namespace awq::device {

int parse_name(const std::string& name) {
  if (name == "cpu") return -1;
  if (name == "auto") return count() > 0 ? 0 : -1;
  if (name == "cuda") return 0;
  constexpr std::string_view kPrefix = "cuda:";
  int index = -1;
  if (name.starts_with(kPrefix)) {
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + kPrefix.size(), end, index);
    if (error == std::errc() && rest == end && index >= 0) return index;
  }
  fail(ErrorCode::kInvalidArgument, "--device {}: expected cpu, cuda, cuda:N or auto", printable(name));
}

}  // namespace awq::device
