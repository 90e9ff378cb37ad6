#include "template/json_value.h"

#include <utility>

namespace awq::templates {

Value from_json(const file::OrderedJson& json) {
  using Kind = file::OrderedJson::value_t;
  switch (json.type()) {
    case Kind::boolean:
      return json.get<bool>();
    case Kind::number_integer:
      return json.get<std::int64_t>();
    case Kind::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (std::in_range<std::int64_t>(number)) return static_cast<std::int64_t>(number);
      return static_cast<double>(number);
    }
    case Kind::number_float:
      return json.get<double>();
    case Kind::string:
      return json.get_ref<const std::string&>();
    case Kind::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item));
      return Value::list(std::move(items));
    }
    case Kind::object: {
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(json.size());
      for (const auto& [key, value] : json.items()) entries.emplace_back(key, from_json(value));
      return Value::map(std::move(entries));
    }
    default:
      return {};
  }
}

}  // namespace awq::templates
