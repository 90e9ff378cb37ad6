#pragma once

namespace awq {

/// Version of the program, of the report's format and of the journal that --resume reads.
inline constexpr const char* kVersion = "0.1.0";

}  // namespace awq
