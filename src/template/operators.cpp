#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "template/runtime.h"

namespace awq::templates {
namespace {

[[noreturn]] void no_operation(std::string_view op, const Value& a, const Value& b) {
  require_defined(a);
  require_defined(b);
  if (op == "+" && a.is_string()) {
    render_error("can only concatenate str (not \"" + type_name(b) + "\") to str");
  }
  if (op == "+" && a.is_sequence()) {
    render_error("can only concatenate " + type_name(a) + " (not \"" + type_name(b) + "\") to " + type_name(a));
  }
  render_error(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", op, type_name(a), type_name(b)));
}

[[noreturn]] void too_large(std::string_view op) { render_error(fmt::format("{}: the result is beyond 64 bits", op)); }

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) render_error("0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  std::int64_t out = 1;
  if (base == 1 || base == 0 || base == -1) return exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base;
  for (std::int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(out, base, &out)) too_large("**");
  }
  return out;
}

Value integers(const std::string& op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if (op == "**") return power(a, b);
  if (op == "+" || op == "-" || op == "*") {
    const bool overflow = op == "+"   ? __builtin_add_overflow(a, b, &out)
                          : op == "-" ? __builtin_sub_overflow(a, b, &out)
                                      : __builtin_mul_overflow(a, b, &out);
    if (overflow) too_large(op);
    return out;
  }
  if (b == 0) render_error(op == "/" ? "division by zero" : "integer division or modulo by zero");
  if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
  if (b == -1) {  // the one quotient that does not fit, and a trap of the processor
    if (op == "%") return 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &out)) too_large(op);
    return out;
  }
  if (op == "//") return floor_div(a, b);
  return a - floor_div(a, b) * b;
}

Value floats(const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) render_error(op == "/" ? "float division by zero" : "float floor division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value repeated(Runtime& runtime, const Value& value, std::int64_t count) {
  const auto times = static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
  if (value.is_string()) {
    std::size_t bytes = 0;
    if (__builtin_mul_overflow(value.as_string().size(), times, &bytes)) bytes = SIZE_MAX;
    runtime.charge_text(bytes);
    std::string out;
    out.reserve(bytes);
    for (std::uint64_t i = 0; i < times && bytes > 0; ++i) out += value.as_string();
    return out;
  }
  const auto& items = value.as_sequence().items;
  std::uint64_t total = 0;
  if (__builtin_mul_overflow(items.size(), times, &total)) total = UINT64_MAX / 16;
  runtime.charge(total * 8);
  std::vector<Value> out;
  for (std::uint64_t i = 0; i < times && total > 0; ++i) out.insert(out.end(), items.begin(), items.end());
  return Value::sequence(value.as_sequence().kind, std::move(out));
}

bool repeatable(const Value& value) {
  return value.is_string() || (value.is_sequence() && (value.as_sequence().kind == SequenceKind::kList ||
                                                       value.as_sequence().kind == SequenceKind::kTuple));
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.type()) {
    case Type::kUndefined:
      return false;
    case Type::kString:
      require_defined(item);
      if (!item.is_string()) {
        render_error("'in <string>' requires string as left operand, not " + type_name(item));
      }
      runtime.charge(1 + container.as_string().size() / 16);
      return container.as_string().find(item.as_string()) != std::string::npos;
    case Type::kMap:
      if (item.is_map() || (item.is_sequence() && item.as_sequence().kind != SequenceKind::kTuple)) {
        render_error("unhashable type: '" + type_name(item) + "'");
      }
      runtime.charge(item.extent().weight);
      return container.as_map().find(item) != nullptr;
    case Type::kSequence: {
      const std::vector<Value> items = runtime.iterate(container);
      runtime.charge(container.extent().weight);
      return std::any_of(items.begin(), items.end(), [&](const Value& v) { return equals(v, item); });
    }
    default:
      render_error("argument of type '" + type_name(container) + "' is not iterable");
  }
}

}  // namespace

Value binary(Runtime& runtime, const std::string& op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? floats(op, a.as_float(), b.as_float()) : integers(op, a.as_int(), b.as_int());
  }
  if (op == "+" && a.is_string() && b.is_string()) {
    runtime.charge_text(a.as_string().size() + b.as_string().size());
    return a.as_string() + b.as_string();
  }
  if (op == "+" && repeatable(a) && repeatable(b) && a.is_sequence() && b.is_sequence() &&
      a.as_sequence().kind == b.as_sequence().kind) {
    std::vector<Value> items = a.as_sequence().items;
    const auto& more = b.as_sequence().items;
    runtime.charge(items.size() + more.size());
    items.insert(items.end(), more.begin(), more.end());
    return Value::sequence(a.as_sequence().kind, std::move(items));
  }
  if (op == "*" && repeatable(a) && (b.is_int() || b.is_bool())) return repeated(runtime, a, b.as_int());
  if (op == "*" && repeatable(b) && (a.is_int() || a.is_bool())) return repeated(runtime, b, a.as_int());
  if (op == "%" && a.is_string()) return format_percent(runtime, a.as_string(), b);
  no_operation(op, a, b);
}

bool compare(Runtime& runtime, const std::string& op, const Value& a, const Value& b) {
  if (op == "in" || op == "not in") return contains(runtime, b, a) == (op == "in");
  runtime.charge(std::min(a.extent().weight, b.extent().weight));
  if (op == "==") return equals(a, b);
  if (op == "!=") return !equals(a, b);
  require_defined(a);
  require_defined(b);
  // A NaN is neither less nor equal, so <= is not the opposite of >.
  if (op == "<") return less(a, b);
  if (op == ">") return less(b, a);
  return op == "<=" ? less(a, b) || equals(a, b) : less(b, a) || equals(a, b);
}

}  // namespace awq::templates
