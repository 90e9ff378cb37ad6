#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "file/json.h"

namespace awq::formats {

/// Typed reads from one JSON object of a file. A value of another type is kCorruptFile; every message names the file
/// and the path of the key. A key whose value is null counts as absent.
/// `keys` are spellings of one setting: the first is the current one, the others are what older tools wrote. Two
/// spellings with different values are an error.
class ConfigReader {
 public:
  using Keys = std::initializer_list<const char*>;

  /// `where` names the object in messages: "config.json: quantization_config". Refers to `object`; keeps no copy.
  ConfigReader(const file::Json& object, std::string where);

  std::optional<std::int64_t> integer(Keys keys) const;
  std::optional<bool> boolean(Keys keys) const;
  std::optional<std::string> text(Keys keys) const;
  std::vector<std::string> texts(Keys keys) const;  ///< an array of strings; empty when absent
  std::optional<ConfigReader> object(const char* key) const;

  std::int64_t required_integer(Keys keys) const;

  const file::Json& json() const { return *object_; }
  /// The value of `key` whatever its type, or null.
  const file::Json* find(const char* key) const;
  [[noreturn]] void corrupt(const char* key, const std::string& what) const;
  [[noreturn]] void unsupported(const char* key, const std::string& what) const;

 private:
  template <typename T, typename Convert>
  std::optional<T> read(Keys keys, const char* expected, Convert convert) const;

  const file::Json* object_;
  std::string where_;
};

/// True when `config` is an object whose quant_method is `name`.
bool has_quant_method(const file::Json& config, std::string_view name);

/// group_size as every format has it: -1 or above 0. `K % group_size` is checked when a module is decoded.
std::int64_t checked_group_size(const ConfigReader& config, const char* key, std::int64_t value);

}  // namespace awq::formats
