#include "formats/config_reader.h"

#include <limits>
#include <utility>

#include "base/check.h"

namespace awq::formats {

using file::Json;

ConfigReader::ConfigReader(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {
  if (!object.is_object()) fail(ErrorCode::kCorruptFile, "{}: not an object", where_);
}

const Json* ConfigReader::find(const char* key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

void ConfigReader::corrupt(const char* key, const std::string& what) const {
  fail(ErrorCode::kCorruptFile, "{}.{}: {}", where_, key, what);
}

void ConfigReader::unsupported(const char* key, const std::string& what) const {
  fail(ErrorCode::kUnsupported, "{}.{}: {}", where_, key, what);
}

template <typename T, typename Convert>
std::optional<T> ConfigReader::read(Keys keys, const char* expected, Convert convert) const {
  std::optional<T> result;
  for (const char* key : keys) {
    const Json* value = find(key);
    if (value == nullptr) continue;
    std::optional<T> converted = convert(*value);
    if (!converted) corrupt(key, fmt::format("found {}, expected {}", printable(value->dump(), 60), expected));
    if (result && *result != *converted) corrupt(key, fmt::format("contradicts {}", *keys.begin()));
    result = std::move(converted);
  }
  return result;
}

std::optional<std::int64_t> ConfigReader::integer(Keys keys) const {
  return read<std::int64_t>(keys, "an integer", [](const Json& value) -> std::optional<std::int64_t> {
    if (!value.is_number_integer()) return std::nullopt;
    if (value.is_number_unsigned() &&
        value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return std::nullopt;
    }
    return value.get<std::int64_t>();
  });
}

std::optional<bool> ConfigReader::boolean(Keys keys) const {
  return read<bool>(keys, "true or false", [](const Json& value) -> std::optional<bool> {
    return value.is_boolean() ? std::optional(value.get<bool>()) : std::nullopt;
  });
}

std::optional<std::string> ConfigReader::text(Keys keys) const {
  return read<std::string>(keys, "a string", [](const Json& value) -> std::optional<std::string> {
    return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
  });
}

std::vector<std::string> ConfigReader::texts(Keys keys) const {
  using Texts = std::vector<std::string>;
  return read<Texts>(keys, "an array of strings",
                     [](const Json& value) -> std::optional<Texts> {
                       if (!value.is_array()) return std::nullopt;
                       Texts texts;
                       for (const Json& item : value) {
                         if (!item.is_string()) return std::nullopt;
                         texts.push_back(item.get<std::string>());
                       }
                       return texts;
                     })
      .value_or(Texts());
}

std::optional<ConfigReader> ConfigReader::object(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  return ConfigReader(*value, fmt::format("{}.{}", where_, key));
}

std::int64_t ConfigReader::required_integer(Keys keys) const {
  const std::optional<std::int64_t> value = integer(keys);
  if (!value) corrupt(*keys.begin(), "is missing");
  return *value;
}

bool has_quant_method(const Json& config, std::string_view name) {
  if (!config.is_object()) return false;
  const auto method = config.find("quant_method");
  return method != config.end() && method->is_string() && method->get_ref<const std::string&>() == name;
}

std::int64_t checked_group_size(const ConfigReader& config, const char* key, std::int64_t value) {
  if (value == -1 || value > 0) return value;
  config.corrupt(key, fmt::format("found {}, expected -1 or a number above 0", value));
}

}  // namespace awq::formats
