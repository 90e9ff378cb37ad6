#include "server/openai/fields.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/check.h"

namespace awq::server {
namespace {

constexpr std::int64_t kLargestId = std::numeric_limits<std::int32_t>::max();
// Beyond it a double does not hold every integer.
constexpr double kExactInteger = 9007199254740992.0;

std::optional<std::int64_t> as_integer(const OrderedJson& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();  // 16.0 is an integer for the reference server too
  if (!(std::abs(number) <= kExactInteger) || number != std::floor(number)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

}  // namespace

std::optional<std::int32_t> as_id(const OrderedJson& value) {
  const std::optional<std::int64_t> id = value.is_number_float() ? std::nullopt : as_integer(value);
  if (!id || *id < 0 || *id > kLargestId) return std::nullopt;
  return static_cast<std::int32_t>(*id);
}

Fields::Fields(const OrderedJson& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    throw ApiError(400, (path_.empty() ? std::string("the body") : path_) + ": expected an object", path_)
        .set_type("Bad Request");
  }
}

const OrderedJson* Fields::find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Fields::refuse(const char* name, const std::string& why) const {
  throw ApiError(400, name_of(name) + ": " + why, name_of(name));
}

void Fields::wrong_type(const char* name, const char* expected) const {
  throw ApiError(400, fmt::format("{}: expected {}", name_of(name), expected), name_of(name)).set_type("Bad Request");
}

std::optional<bool> Fields::boolean(const char* name) const {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) wrong_type(name, "true or false");
  return value->get<bool>();
}

std::optional<double> Fields::number(const char* name) const {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) wrong_type(name, "a number");
  const double number = value->get<double>();
  if (!std::isfinite(number)) refuse(name, "expected a finite number");
  return number;
}

std::optional<std::int64_t> Fields::integer(const char* name) const {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<std::int64_t> number = as_integer(*value);
  if (!number) wrong_type(name, "an integer");
  return number;
}

std::optional<std::string> Fields::text(const char* name) const {
  const OrderedJson* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) wrong_type(name, "a string");
  return value->get<std::string>();
}

std::optional<std::string> Fields::text_of(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    if (std::optional<std::string> found = text(name)) return found;
  }
  return std::nullopt;
}

std::vector<std::string> Fields::texts(const char* name) const {
  const OrderedJson* value = find(name);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) wrong_type(name, "a string or a list of strings");
  std::vector<std::string> out;
  for (const OrderedJson& item : *value) {
    if (!item.is_string()) wrong_type(name, "a string or a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::vector<std::int32_t> Fields::ids(const char* name) const {
  const OrderedJson* value = array(name);
  std::vector<std::int32_t> out;
  if (value == nullptr) return out;
  for (const OrderedJson& item : *value) {
    const std::optional<std::int32_t> id = as_id(item);
    if (!id) wrong_type(name, "a list of token ids");
    out.push_back(*id);
  }
  return out;
}

const OrderedJson* Fields::array(const char* name) const {
  const OrderedJson* value = find(name);
  if (value != nullptr && !value->is_array()) wrong_type(name, "a list");
  return value;
}

const OrderedJson* Fields::object(const char* name) const {
  const OrderedJson* value = find(name);
  if (value != nullptr && !value->is_object()) wrong_type(name, "an object");
  return value;
}

double Fields::number_in(const char* name, double fallback, double low, double high) const {
  const std::optional<double> value = number(name);
  if (!value) return fallback;
  if (*value < low || *value > high) refuse(name, fmt::format("{} is not within {} and {}", *value, low, high));
  return *value;
}

std::int64_t Fields::integer_in(const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high) const {
  const std::optional<std::int64_t> value = integer(name);
  if (!value) return fallback;
  if (*value < low || *value > high) refuse(name, fmt::format("{} is not within {} and {}", *value, low, high));
  return *value;
}

OrderedJson parse_body(const std::string& body, const ServeLimits& limits) {
  try {
    return file::parse_json<OrderedJson>(body, "the body",
                                         {.max_depth = static_cast<int>(limits.max_json_depth),
                                          .max_bytes = static_cast<std::uint64_t>(limits.max_body_bytes),
                                          .max_values = static_cast<std::uint64_t>(limits.max_json_values)});
  } catch (const Error& error) {
    ApiError out(400, error.message());
    out.set_type("Bad Request");
    if (error.message().find("nested deeper") != std::string::npos) out.set_limit(&ServeLimits::max_json_depth);
    if (error.message().find("more than") != std::string::npos) out.set_limit(&ServeLimits::max_json_values);
    throw out;
  }
}

}  // namespace awq::server
