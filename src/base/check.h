#pragma once

#include <fmt/format.h>

#include <string>

#include "awq/error.h"

namespace awq {

/// Throws Error{code} with a formatted message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error{kInternal}; called by AWQ_CHECK.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);

/// Client text for an error message: control and non-ASCII-invalid bytes escaped, cut at `max_length` bytes.
std::string printable(std::string_view text, std::size_t max_length = 120);

}  // namespace awq

/// An invariant of our own code, kept in release builds. Never for user input: that is fail().
#define AWQ_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::awq::check_failed(#expression, __FILE__, __LINE__))
