#include "template/value.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "base/check.h"

namespace awq::templates {
namespace {

constexpr int kMaxDepth = 100;
constexpr std::uint64_t kMaxWeight = 4'000'000;
constexpr std::size_t kSmallMap = 8;

void include(Extent& total, const Value& value) {
  const Extent e = value.extent();
  total.weight += e.weight;
  total.depth = std::max(total.depth, e.depth + 1);
  if (total.depth > kMaxDepth) render_error("values nested deeper than " + std::to_string(kMaxDepth) + " levels");
  if (total.weight > kMaxWeight) render_error("a value of more than " + std::to_string(kMaxWeight) + " elements");
}

/// Keys that are equal have one hash: numbers hash by their value.
std::size_t hash_of(std::string_view text) { return std::hash<std::string_view>()(text); }
std::size_t hash_of(const Value& value) {
  switch (value.type()) {
    case Type::kString:
      return hash_of(std::string_view(value.as_string()));
    case Type::kBool:
    case Type::kInt:
    case Type::kFloat:
      return std::hash<double>()(value.as_float());
    case Type::kSequence: {
      std::size_t hash = 17;
      for (const Value& item : value.as_sequence().items) hash = hash * 31 + hash_of(item);
      return hash;
    }
    default:
      return 1;
  }
}

void check_key(const Value& key) {
  if (key.is_sequence() && key.as_sequence().kind == SequenceKind::kTuple) {
    for (const Value& item : key.as_sequence().items) check_key(item);
    return;
  }
  if (key.is_map() || key.is_sequence()) render_error("unhashable type: '" + type_name(key) + "'");
}

template <typename Matches>
std::uint32_t* slot_of(std::vector<std::uint32_t>& table, std::size_t hash, const Matches& matches) {
  const std::size_t mask = table.size() - 1;
  for (std::size_t at = (hash * 0x9E3779B97F4A7C15ULL >> 20) & mask;; at = (at + 1) & mask) {
    if (table[at] == 0 || matches(table[at] - 1)) return &table[at];
  }
}

}  // namespace

void render_error(std::string message) { throw Error(ErrorCode::kInvalidArgument, std::move(message)); }

const Value* Map::find(const Value& key) const {
  if (by_hash.empty()) {
    for (const auto& [k, v] : entries) {
      if (equals(k, key)) return &v;
    }
    return nullptr;
  }
  auto& table = const_cast<std::vector<std::uint32_t>&>(by_hash);
  const std::uint32_t* slot =
      slot_of(table, hash_of(key), [&](std::size_t i) { return equals(entries[i].first, key); });
  return *slot == 0 ? nullptr : &entries[*slot - 1].second;
}

const Value* Map::find(std::string_view key) const {
  const auto is_key = [&](const Value& k) { return k.is_string() && k.as_string() == key; };
  if (by_hash.empty()) {
    for (const auto& [k, v] : entries) {
      if (is_key(k)) return &v;
    }
    return nullptr;
  }
  auto& table = const_cast<std::vector<std::uint32_t>&>(by_hash);
  const std::uint32_t* slot = slot_of(table, hash_of(key), [&](std::size_t i) { return is_key(entries[i].first); });
  return *slot == 0 ? nullptr : &entries[*slot - 1].second;
}

Value Value::undefined(std::string message, bool unsafe) {
  Value out;
  out.data_ = std::make_shared<const UndefinedInfo>(UndefinedInfo{std::move(message), unsafe});
  return out;
}

Value Value::sequence(SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  for (const Value& item : items) include(sequence->extent, item);
  sequence->items = std::move(items);
  Value out;
  out.data_ = SequencePtr(std::move(sequence));
  return out;
}

Value Value::map(std::vector<std::pair<Value, Value>> entries) {
  auto map = std::make_shared<Map>();
  const bool indexed = entries.size() > kSmallMap;
  map->entries.reserve(entries.size());
  if (indexed) {
    map->by_hash.assign(std::bit_ceil(entries.size() * 2), 0);
  }
  for (auto& entry : entries) {
    Value& key = entry.first;  // names that clang 14 lets lambdas use
    Value& value = entry.second;
    check_key(key);
    include(map->extent, key);
    include(map->extent, value);
    if (indexed) {
      std::uint32_t* slot =
          slot_of(map->by_hash, hash_of(key), [&](std::size_t i) { return equals(map->entries[i].first, key); });
      if (*slot != 0) {
        map->entries[*slot - 1].second = std::move(value);
        continue;
      }
      *slot = static_cast<std::uint32_t>(map->entries.size() + 1);
    } else {
      const auto same = std::find_if(map->entries.begin(), map->entries.end(),
                                     [&](const auto& other) { return equals(other.first, key); });
      if (same != map->entries.end()) {
        same->second = std::move(value);
        continue;
      }
    }
    map->entries.emplace_back(std::move(key), std::move(value));
  }
  Value out;
  out.data_ = MapPtr(std::move(map));
  return out;
}

bool Value::same_object(const Value& other) const {
  if (type() != other.type()) return false;
  if (type() == Type::kBool || type() == Type::kInt || type() == Type::kFloat || type() == Type::kString) {
    return equals(*this, other);
  }
  if (is_none()) return true;
  if (is_sequence()) return &as_sequence() == &other.as_sequence();
  if (is_map()) return &as_map() == &other.as_map();
  return !is_undefined() && equals(*this, other);
}

Extent Value::extent() const {
  if (is_sequence()) return as_sequence().extent;
  if (is_map()) return as_map().extent;
  if (is_string()) return {.weight = 1 + as_string().size() / 64, .depth = 0};
  return {.weight = 1, .depth = 0};
}

bool is_true(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
    case Type::kInt:
      return value.as_int() != 0;
    case Type::kFloat:
      return value.as_float() != 0;
    case Type::kString:
      return !value.as_string().empty();
    case Type::kSequence:
      return value.as_sequence().kind == SequenceKind::kGenerator || !value.as_sequence().items.empty();
    case Type::kMap:
      return !value.as_map().entries.empty();
    default:
      return true;
  }
}

bool equals(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.as_float() == b.as_float() : a.as_int() == b.as_int();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kString:
      return a.as_string() == b.as_string();
    case Type::kSequence: {
      const Sequence& x = a.as_sequence();
      const Sequence& y = b.as_sequence();
      if (&x == &y) return true;
      if (x.kind != y.kind || x.kind == SequenceKind::kGenerator || x.items.size() != y.items.size()) return false;
      return std::equal(x.items.begin(), x.items.end(), y.items.begin(), equals);
    }
    case Type::kMap: {
      const Map& x = a.as_map();
      const Map& y = b.as_map();
      if (&x == &y) return true;
      if (x.entries.size() != y.entries.size()) return false;
      return std::all_of(x.entries.begin(), x.entries.end(), [&](const auto& entry) {
        const Value* other = y.find(entry.first);
        return other != nullptr && equals(entry.second, *other);
      });
    }
    case Type::kNamespace:
      return a.as_namespace() == b.as_namespace();
    case Type::kLoop:
      return a.as_loop() == b.as_loop();
    default:
      return a.as_callable() == b.as_callable();
  }
}

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.as_float() < b.as_float() : a.as_int() < b.as_int();
  }
  // UTF-8 sorts as the code points do.
  if (a.is_string() && b.is_string()) return a.as_string() < b.as_string();
  if (a.is_undefined()) render_error(a.as_undefined().message);
  if (b.is_undefined()) render_error(b.as_undefined().message);
  if (a.is_sequence() && b.is_sequence() && a.as_sequence().kind == b.as_sequence().kind &&
      a.as_sequence().kind != SequenceKind::kGenerator) {
    const auto& x = a.as_sequence().items;
    const auto& y = b.as_sequence().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equals(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  render_error("'<' not supported between instances of '" + type_name(a) + "' and '" + type_name(b) + "'");
}

std::string type_name(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kString:
      return "str";
    case Type::kSequence: {
      constexpr const char* kNames[] = {"list", "tuple", "generator", "range", "dict_items"};
      return kNames[static_cast<int>(value.as_sequence().kind)];
    }
    case Type::kMap:
      return "dict";
    case Type::kNamespace:
      return "Namespace";
    case Type::kLoop:
      return "LoopContext";
    default:
      return "function";
  }
}

}  // namespace awq::templates
