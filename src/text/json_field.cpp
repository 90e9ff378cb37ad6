#include "text/json_field.h"

#include "base/check.h"

namespace awq::text {

JsonField JsonField::at(std::string_view key) const {
  if (!is_object()) corrupt(value_->type_name(), "an object");
  const auto found = value_->find(std::string(key));
  if (found == value_->end()) corrupt("no field \"" + std::string(key) + "\"", "one");
  return {*found, file_, path_.empty() ? std::string(key) : path_ + "." + std::string(key)};
}

std::optional<JsonField> JsonField::get(std::string_view key) const {
  if (!is_object()) corrupt(value_->type_name(), "an object");
  const auto found = value_->find(std::string(key));
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return at(key);
}

std::size_t JsonField::size() const {
  if (!is_array()) corrupt(value_->type_name(), "an array");
  return value_->size();
}

JsonField JsonField::item(std::size_t index) const {
  if (index >= size()) corrupt(fmt::format("{} items", size()), fmt::format("more than {}", index));
  return {(*value_)[index], file_, fmt::format("{}[{}]", path_, index)};
}

const std::string& JsonField::string() const {
  if (!is_string()) corrupt(value_->type_name(), "a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) corrupt(value_->type_name(), "true or false");
  return value_->get<bool>();
}

std::int64_t JsonField::integer(std::int64_t min, std::int64_t max) const {
  if (!value_->is_number_integer()) corrupt(value_->type_name(), "an integer");
  const bool too_large = value_->is_number_unsigned() && value_->get<std::uint64_t>() > INT64_MAX;
  const std::int64_t number = too_large ? INT64_MAX : value_->get<std::int64_t>();
  if (too_large || number < min || number > max) {
    corrupt(value_->dump(), fmt::format("a number from {} to {}", min, max));
  }
  return number;
}

bool JsonField::boolean_or(std::string_view key, bool otherwise) const {
  const std::optional<JsonField> field = get(key);
  return field ? field->boolean() : otherwise;
}

std::int64_t JsonField::integer_or(std::string_view key, std::int64_t otherwise, std::int64_t min,
                                   std::int64_t max) const {
  const std::optional<JsonField> field = get(key);
  return field ? field->integer(min, max) : otherwise;
}

std::string JsonField::string_or(std::string_view key, std::string_view otherwise) const {
  const std::optional<JsonField> field = get(key);
  return field ? field->string() : std::string(otherwise);
}

void JsonField::corrupt(std::string_view found, std::string_view expected) const {
  fail(ErrorCode::kCorruptFile, "{}: {}: found {}, expected {}", file_, path_.empty() ? "top level" : printable(path_),
       printable(found), expected);
}

void JsonField::unsupported(std::string_view what) const {
  fail(ErrorCode::kUnsupported, "{}: {}: {}", file_, path_.empty() ? "top level" : printable(path_), printable(what));
}

}  // namespace awq::text
