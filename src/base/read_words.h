#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace awq {

/// The number behind a name that begins a line of a file of the system; nothing where there is none.
std::optional<std::uint64_t> read_word(const std::filesystem::path& path, const std::string& name);
/// The number that a file begins with.
std::optional<std::uint64_t> read_number(const std::filesystem::path& path);

}  // namespace awq
