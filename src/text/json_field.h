#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "file/json.h"

namespace awq::text {

/// A value inside a JSON file together with its place, so that every complaint names both. Borrows the document and the
/// name.
class JsonField {
 public:
  JsonField(const file::Json& value, std::string_view file, std::string path = "")
      : value_(&value), file_(file), path_(std::move(path)) {}

  const file::Json& json() const { return *value_; }
  /// "file: path", for messages.
  std::string where() const { return std::string(file_) + ": " + path_; }
  bool is_null() const { return value_->is_null(); }
  bool is_string() const { return value_->is_string(); }
  bool is_array() const { return value_->is_array(); }
  bool is_object() const { return value_->is_object(); }

  /// Member of an object; fails when it is missing.
  JsonField at(std::string_view key) const;
  /// Member of an object; nothing when it is missing or null.
  std::optional<JsonField> get(std::string_view key) const;

  std::size_t size() const;  ///< of an array
  JsonField item(std::size_t index) const;

  /// A member or item of this value under the path of this value: cheaper than item() in long lists.
  JsonField element(const file::Json& value) const { return {value, file_, path_}; }

  const std::string& string() const;
  bool boolean() const;
  std::int64_t integer(std::int64_t min, std::int64_t max) const;

  bool boolean_or(std::string_view key, bool otherwise) const;
  std::int64_t integer_or(std::string_view key, std::int64_t otherwise, std::int64_t min, std::int64_t max) const;
  std::string string_or(std::string_view key, std::string_view otherwise) const;
  /// Throws kCorruptFile: "file: path: found ..., expected ...".
  [[noreturn]] void corrupt(std::string_view found, std::string_view expected) const;
  /// Throws kUnsupported.
  [[noreturn]] void unsupported(std::string_view what) const;

 private:
  const file::Json* value_;
  std::string_view file_;
  std::string path_;
};

}  // namespace awq::text
