#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// The values of the template language, with the semantics of the Python values that the reference renderer (Jinja2)
// uses. They hold no object of the host program: nothing that a template does can reach beyond them.

namespace awq::templates {

class Value;
struct Namespace;
struct Loop;
struct Callable;

enum class SequenceKind { kList, kTuple, kGenerator, kRange, kDictView };

/// What a container needs to bound the work of walking it: a template can share one list many times over, so that a
/// small value prints as an enormous one.
struct Extent {
  std::uint64_t weight = 1;  ///< values and 64-byte pieces of text below, counted as often as a walk meets them
  int depth = 1;
};

/// Immutable once made.
struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  std::vector<Value> items;
  Extent extent;
  mutable bool consumed = false;  ///< a generator gives its items once
};

/// A dict: keeps the order of insertion. Immutable once made.
struct Map {
  std::vector<std::pair<Value, Value>> entries;
  Extent extent;
  std::vector<std::uint32_t> by_hash;  ///< open addressing over entries; empty for small maps

  /// The value of `key`, or null. 1, 1.0 and true are one key, as in Python.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

/// Why a value is undefined; the text of the error that using it gives.
struct UndefinedInfo {
  std::string message;
  bool unsafe = false;  ///< a method that the sandbox withholds
};

enum class Type { kUndefined, kNone, kBool, kInt, kFloat, kString, kSequence, kMap, kNamespace, kLoop, kCallable };

class Value {
 public:
  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(int value) : data_(static_cast<std::int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(Namespace* value) : data_(value) {}
  Value(Loop* value) : data_(value) {}
  Value(const Callable* value) : data_(value) {}

  static Value undefined(std::string message, bool unsafe = false);
  /// Throws when the result would be nested too deeply or weigh too much to be walked.
  static Value sequence(SequenceKind kind, std::vector<Value> items);
  static Value list(std::vector<Value> items) { return sequence(SequenceKind::kList, std::move(items)); }
  static Value tuple(std::vector<Value> items) { return sequence(SequenceKind::kTuple, std::move(items)); }
  /// Of equal keys the first keeps its place and the last its value. Throws for a key that cannot be one.
  static Value map(std::vector<std::pair<Value, Value>> entries);

  Type type() const { return static_cast<Type>(data_.index()); }
  bool is_undefined() const { return type() == Type::kUndefined; }
  bool is_none() const { return type() == Type::kNone; }
  bool is_bool() const { return type() == Type::kBool; }
  bool is_int() const { return type() == Type::kInt; }  ///< without bool
  bool is_float() const { return type() == Type::kFloat; }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return type() == Type::kString; }
  bool is_sequence() const { return type() == Type::kSequence; }
  bool is_map() const { return type() == Type::kMap; }

  // Each requires the type it names.
  bool as_bool() const { return std::get<bool>(data_); }
  std::int64_t as_int() const { return is_bool() ? (as_bool() ? 1 : 0) : std::get<std::int64_t>(data_); }
  double as_float() const { return is_float() ? std::get<double>(data_) : static_cast<double>(as_int()); }
  const std::string& as_string() const { return *std::get<StringPtr>(data_); }
  const Sequence& as_sequence() const { return *std::get<SequencePtr>(data_); }
  const Map& as_map() const { return *std::get<MapPtr>(data_); }
  const UndefinedInfo& as_undefined() const { return *std::get<UndefinedPtr>(data_); }
  Namespace* as_namespace() const { return std::get<Namespace*>(data_); }
  Loop* as_loop() const { return std::get<Loop*>(data_); }
  const Callable* as_callable() const { return std::get<const Callable*>(data_); }
  /// The same container or object, not only an equal one.
  bool same_object(const Value& other) const;

  Extent extent() const;

 private:
  struct None {};
  using StringPtr = std::shared_ptr<const std::string>;
  using SequencePtr = std::shared_ptr<const Sequence>;
  using MapPtr = std::shared_ptr<const Map>;
  using UndefinedPtr = std::shared_ptr<const UndefinedInfo>;
  // In the order of Type.
  std::variant<UndefinedPtr, None, bool, std::int64_t, double, StringPtr, SequencePtr, MapPtr, Namespace*, Loop*,
               const Callable*>
      data_;
};

/// Made by namespace(): the one thing that `set` can change from an inner scope. Owned by the render.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

bool is_true(const Value& value);
/// Python's ==. Cost: at most the weight of the lighter operand.
bool equals(const Value& a, const Value& b);
/// Python's <. Throws kInvalidArgument for types without an order, naming them.
bool less(const Value& a, const Value& b);

/// "str", "dict", ...: the name of the Python type, for messages.
std::string type_name(const Value& value);
/// str(value) and repr(value). Throws when that nests too deeply.
std::string to_text(const Value& value);
std::string to_repr(const Value& value);
/// repr() of a float: the shortest digits that read back as the same number.
std::string float_text(double value);

struct JsonStyle {
  bool ensure_ascii = false;
  std::string indent;  ///< used when `pretty`
  bool pretty = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
/// json.dumps(value). Throws kInvalidArgument for what JSON cannot hold.
std::string to_json(const Value& value, const JsonStyle& style);

/// Throws the error that a render ends with: kInvalidArgument, because the conversation does not fit the template.
[[noreturn]] void render_error(std::string message);

}  // namespace awq::templates
