// The tests of the language: what may stand after `is`.

#include <algorithm>

#include "base/check.h"
#include "template/runtime.h"

namespace awq::templates {
namespace {

bool is_iterable(const Value& v) { return v.is_string() || v.is_sequence() || v.is_map() || v.is_undefined(); }

/// Python's collections with a length and an index.
bool is_sequence(const Value& v) {
  if (v.is_sequence()) {
    const SequenceKind kind = v.as_sequence().kind;
    return kind == SequenceKind::kList || kind == SequenceKind::kTuple || kind == SequenceKind::kRange;
  }
  return v.is_string() || v.is_map() || v.is_undefined();
}

using Predicate = bool (*)(const Value&);
struct Row {
  const char* name;
  Predicate holds;
};
constexpr Row kRows[] = {
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"boolean", [](const Value& v) { return v.is_bool(); }},
    {"true", [](const Value& v) { return v.is_bool() && v.as_bool(); }},
    {"false", [](const Value& v) { return v.is_bool() && !v.as_bool(); }},
    {"integer", [](const Value& v) { return v.is_int(); }},
    {"float", [](const Value& v) { return v.is_float(); }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"string", [](const Value& v) { return v.is_string(); }},
    {"mapping", [](const Value& v) { return v.is_map(); }},
    {"iterable", is_iterable},
    {"sequence", is_sequence},
    {"callable", [](const Value& v) { return v.type() == Type::kCallable; }},
    {"escaped", [](const Value&) { return false; }},
    {"lower", [](const Value& v) { return lowered(to_text(v)) == to_text(v) && uppered(to_text(v)) != to_text(v); }},
    {"upper", [](const Value& v) { return uppered(to_text(v)) == to_text(v) && lowered(to_text(v)) != to_text(v); }},
};

struct Comparison {
  const char* name;
  const char* op;
};
constexpr Comparison kComparisons[] = {
    {"eq", "=="},      {"equalto", "=="}, {"==", "=="}, {"ne", "!="}, {"!=", "!="}, {"lt", "<"},
    {"lessthan", "<"}, {"<", "<"},        {"le", "<="}, {"<=", "<="}, {"gt", ">"},  {"greaterthan", ">"},
    {">", ">"},        {"ge", ">="},      {">=", ">="}, {"in", "in"},
};

}  // namespace

bool apply_test(Runtime& runtime, const std::string& name, const Value& input, const CallArgs& args) {
  runtime.charge(2);
  for (const Row& row : kRows) {
    if (name != row.name) continue;
    bind(name, args, {});
    if (name == "lower" || name == "upper") runtime.charge(input.extent().weight * 64);
    return row.holds(input);
  }
  const auto other = [&]() -> const Value& {
    const auto a = bind(name, args, {"other"});
    if (a[0] == nullptr) render_error(name + ": expected something to compare with");
    return *a[0];
  };
  for (const Comparison& row : kComparisons) {
    if (name == row.name) return compare(runtime, row.op, input, other());
  }
  if (name == "sameas") return input.same_object(other());
  if (name == "divisibleby") return is_true(Value(binary(runtime, "%", input, other()).as_float() == 0));
  if (name == "odd" || name == "even") {
    bind(name, args, {});
    return equals(binary(runtime, "%", input, 2), name == "odd" ? 1 : 0);
  }
  render_error("No test named '" + printable(name, 40) + "'.");
}

}  // namespace awq::templates
