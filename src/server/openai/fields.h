#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "file/json.h"
#include "server/api_error.h"

namespace awq::server {

using file::OrderedJson;

/// The fields of one object of a request. A field that is null counts as absent; one of another type than asked for is
/// a 400 that names it. Unknown fields are nobody's business: clients rely on that.
class Fields {
 public:
  /// `path` goes before the names in messages: "messages[3]". Throws when `object` is none.
  explicit Fields(const OrderedJson& object, std::string path = {});

  bool has(const char* name) const { return find(name) != nullptr; }
  /// Null when absent.
  const OrderedJson* find(const char* name) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<double> number(const char* name) const;  ///< finite
  std::optional<std::int64_t> integer(const char* name) const;
  std::optional<std::string> text(const char* name) const;
  std::optional<std::string> text_of(std::initializer_list<const char*> names) const;  ///< the first one that is there
  /// One string, or a list of them.
  std::vector<std::string> texts(const char* name) const;
  std::vector<std::int32_t> ids(const char* name) const;
  const OrderedJson* array(const char* name) const;
  const OrderedJson* object(const char* name) const;

  /// Number within [low, high]; `fallback` when absent.
  double number_in(const char* name, double fallback, double low, double high) const;
  std::int64_t integer_in(const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high) const;

  std::string name_of(const char* name) const { return path_.empty() ? name : path_ + "." + name; }
  /// 400 about a field.
  [[noreturn]] void refuse(const char* name, const std::string& why) const;
  [[noreturn]] void wrong_type(const char* name, const char* expected) const;

 private:
  const OrderedJson& object_;
  std::string path_;
};

/// A token id, or nothing for a JSON value that is none.
std::optional<std::int32_t> as_id(const OrderedJson& value);

/// The body of a request. Throws ApiError 400, with the limit when there is one behind it.
OrderedJson parse_body(const std::string& body, const ServeLimits& limits);

}  // namespace awq::server
