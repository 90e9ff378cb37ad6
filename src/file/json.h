#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace awq::file {

/// `Json` sorts its keys and finds them in logarithmic time; `OrderedJson` keeps the order of the file (config.json
/// goes back out as it came in) and finds them by walking, so it is for small objects only.
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

struct JsonLimits {
  int max_depth = 64;
  std::uint64_t max_bytes = 512ULL << 20;
  std::uint64_t max_values = UINT64_MAX;  ///< of all kinds, keys not counted
};

/// Parses strict JSON: valid UTF-8, no duplicate keys, no trailing bytes, bounded depth.
/// Throws kCorruptFile naming `name` and the byte offset.
template <typename J = Json>
J parse_json(std::string_view text, const std::string& name, const JsonLimits& limits = {});

/// On one line; what is no UTF-8 is replaced.
template <typename J>
std::string to_line(const J& json) {
  return json.dump(-1, ' ', false, J::error_handler_t::replace);
}

/// Reads and parses a file.
template <typename J = Json>
J read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {});

extern template Json parse_json<Json>(std::string_view, const std::string&, const JsonLimits&);
extern template OrderedJson parse_json<OrderedJson>(std::string_view, const std::string&, const JsonLimits&);
extern template Json read_json_file<Json>(const std::filesystem::path&, const JsonLimits&);
extern template OrderedJson read_json_file<OrderedJson>(const std::filesystem::path&, const JsonLimits&);

}  // namespace awq::file
