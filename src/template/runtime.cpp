#include "template/runtime.h"

#include <algorithm>

#include "base/check.h"
#include "text/utf8.h"

namespace awq::templates {
namespace {

/// How Jinja2 names the type of an object in messages.
std::string object_name(const Value& value) {
  if (value.is_none()) return "None";
  if (value.type() == Type::kNamespace) return "jinja2.utils.Namespace object";
  return type_name(value) + " object";
}

Value no_attribute(const Value& value, const std::string& name) {
  return Value::undefined("'" + object_name(value) + "' has no attribute '" + name + "'");
}

/// Bounds of a slice as Python computes them, for `size` items.
struct Bounds {
  std::int64_t start, stop, step;
};
Bounds slice_bounds(std::int64_t size, const Value& start, const Value& stop, const Value& step) {
  Bounds out{0, 0, step.is_none() ? 1 : require_int(step, "slice step")};
  if (out.step == 0) render_error("slice step cannot be zero");
  const bool back = out.step < 0;
  const auto clamp = [&](const Value& bound, std::int64_t fallback) {
    if (bound.is_none()) return fallback;
    std::int64_t at = require_int(bound, "slice index");
    if (at < 0) at = std::max<std::int64_t>(at + size, back ? -1 : 0);
    return std::min(at, back ? size - 1 : size);
  };
  out.start = clamp(start, back ? size - 1 : 0);
  out.stop = clamp(stop, back ? -1 : size);
  return out;
}

}  // namespace

std::vector<const Value*> bind(std::string_view function, const CallArgs& args,
                               std::initializer_list<std::string_view> parameters) {
  if (args.positional.size() > parameters.size()) {
    render_error(
        fmt::format("{}() takes at most {} arguments ({} given)", function, parameters.size(), args.positional.size()));
  }
  std::vector<const Value*> out(parameters.size(), nullptr);
  for (std::size_t i = 0; i < args.positional.size(); ++i) out[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* at = std::find(parameters.begin(), parameters.end(), name);
    if (at == parameters.end()) {
      render_error(fmt::format("{}() got an unexpected keyword argument '{}'", function, printable(name, 40)));
    }
    const Value*& slot = out[static_cast<std::size_t>(at - parameters.begin())];
    if (slot != nullptr) render_error(fmt::format("{}() got multiple values for argument '{}'", function, name));
    slot = &value;
  }
  return out;
}

void require_defined(const Value& value) {
  if (value.is_undefined()) render_error(value.as_undefined().message);
}

std::int64_t require_int(const Value& value, std::string_view what) {
  require_defined(value);
  if (!value.is_int() && !value.is_bool()) {
    render_error(fmt::format("{}: found {}, expected an integer", what, type_name(value)));
  }
  return value.as_int();
}

const std::string& require_string(const Value& value, std::string_view what) {
  require_defined(value);
  if (!value.is_string()) render_error(fmt::format("{}: found {}, expected a string", what, type_name(value)));
  return value.as_string();
}

void Runtime::charge(std::uint64_t steps) {
  used_ += steps;
  if (used_ > limits_.steps) {
    throw StepsSpent(ErrorCode::kInvalidArgument,
                     fmt::format("the chat template took more than {} steps on this conversation", limits_.steps));
  }
}

void Runtime::charge_text(std::size_t bytes) {
  if (bytes > limits_.output_bytes) {
    throw TextTooLong(ErrorCode::kInvalidArgument,
                      fmt::format("the chat template made a text of more than {} bytes", limits_.output_bytes));
  }
  charge(1 + bytes / 8);
}

std::tm Runtime::now() const {
  if (clock_) return clock_();
  render_error("strftime_now() is not available here");
}

Value Runtime::make_callable(Callable callable) {
  charge(4);
  callables_.push_back(std::move(callable));
  return Value(static_cast<const Callable*>(&callables_.back()));
}

Value Runtime::make_namespace(std::vector<std::pair<std::string, Value>> attributes) {
  charge(4 + attributes.size());
  namespaces_.push_back({std::move(attributes)});
  return Value(&namespaces_.back());
}

Value Runtime::loop_attribute(Loop& loop, const std::string& name, const Value& self) {
  const auto index = static_cast<std::int64_t>(loop.index);
  const auto size = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "length") return size;
  if (name == "depth") return loop.depth;
  if (name == "depth0") return loop.depth - 1;
  if (name == "previtem") {
    return index > 0 ? loop.items[loop.index - 1] : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < size ? loop.items[loop.index + 1] : Value::undefined("there is no next item");
  }
  if (name == "cycle" || name == "changed") return make_callable({.self = self, .name = name, .is_method = true});
  return no_attribute(self, name);
}

Value Runtime::attribute(const Value& value, const std::string& name) {
  require_defined(value);
  if (value.type() == Type::kLoop) return loop_attribute(*value.as_loop(), name, value);
  if (value.type() == Type::kNamespace) {
    for (const auto& [key, item] : value.as_namespace()->attributes) {
      if (key == name) return item;
    }
    return no_attribute(value, name);
  }
  bool blocked = false;
  if (has_method(value, name, blocked)) {
    if (blocked || name.starts_with("_")) {
      return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(value)),
                              true);
    }
    return make_callable({.self = value, .name = name, .is_method = true});
  }
  if (value.is_map()) {
    if (const Value* found = value.as_map().find(std::string_view(name))) return *found;
  }
  return no_attribute(value, name);
}

Value Runtime::item(const Value& value, const Value& key) {
  require_defined(value);
  if (value.is_map()) {
    if (const Value* found = value.as_map().find(key)) return *found;
  } else if ((value.is_sequence() || value.is_string()) && (key.is_int() || key.is_bool())) {
    const bool indexable = !value.is_sequence() || value.as_sequence().kind == SequenceKind::kList ||
                           value.as_sequence().kind == SequenceKind::kTuple ||
                           value.as_sequence().kind == SequenceKind::kRange;
    if (indexable) {
      if (value.is_string()) charge(1 + value.as_string().size() / 64);
      const std::int64_t size = length(value);
      const std::int64_t at = key.as_int() < 0 ? key.as_int() + size : key.as_int();
      if (at >= 0 && at < size) {
        if (value.is_sequence()) return value.as_sequence().items[static_cast<std::size_t>(at)];
        const std::string& text = value.as_string();
        std::size_t offset = 0;
        for (std::int64_t i = 0; i < at; ++i) offset += text::scalar_at(text, offset).bytes;
        return text.substr(offset, text::scalar_at(text, offset).bytes);
      }
    }
  }
  if (key.is_string()) {
    bool blocked = false;
    if (!value.is_map() || has_method(value, key.as_string(), blocked)) return attribute(value, key.as_string());
    return no_attribute(value, key.as_string());
  }
  require_defined(key);
  return Value::undefined(object_name(value) + " has no element " + to_repr(key));
}

Value Runtime::slice_text(const std::string& text, const Value& start, const Value& stop, const Value& step) {
  charge_text(text.size());
  const Bounds b = slice_bounds(count_scalars(text), start, stop, step);
  if (b.step == 1) {
    std::size_t begin = 0;
    std::int64_t at = 0;
    for (; at < b.start; ++at) begin += text::scalar_at(text, begin).bytes;
    std::size_t end = begin;
    for (; at < b.stop; ++at) end += text::scalar_at(text, end).bytes;
    return text.substr(begin, end - begin);
  }
  charge_text(text.size() * 16);
  std::vector<std::string_view> scalars;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = text::scalar_at(text, at).bytes;
    scalars.push_back(std::string_view(text).substr(at, bytes));
    at += bytes;
  }
  std::string out;
  for (std::int64_t i = b.start; b.step > 0 ? i < b.stop : i > b.stop;) {
    out += scalars[static_cast<std::size_t>(i)];
    if (__builtin_add_overflow(i, b.step, &i)) break;
  }
  return out;
}

Value Runtime::slice(const Value& value, const Value& start, const Value& stop, const Value& step) {
  require_defined(value);
  for (const Value* bound : {&start, &stop, &step}) require_defined(*bound);
  if (value.is_string()) {
    return slice_text(value.as_string(), start, stop, step);
  }
  if (value.is_sequence() && value.as_sequence().kind != SequenceKind::kGenerator &&
      value.as_sequence().kind != SequenceKind::kDictView) {
    const Sequence& sequence = value.as_sequence();
    charge(1 + sequence.items.size());
    const Bounds b = slice_bounds(static_cast<std::int64_t>(sequence.items.size()), start, stop, step);
    std::vector<Value> out;
    for (std::int64_t i = b.start; b.step > 0 ? i < b.stop : i > b.stop;) {
      out.push_back(sequence.items[static_cast<std::size_t>(i)]);
      if (__builtin_add_overflow(i, b.step, &i)) break;
    }
    return Value::sequence(sequence.kind, std::move(out));
  }
  // Jinja2 takes a key that does not fit as a missing one.
  return Value::undefined(object_name(value) + " has no element slice");
}

std::vector<Value> Runtime::iterate(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return {};
    case Type::kString: {
      const std::string& text = value.as_string();
      charge_text(text.size());
      charge(text.size() * 4);
      std::vector<Value> out;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t bytes = text::scalar_at(text, at).bytes;
        out.emplace_back(text.substr(at, bytes));
        at += bytes;
      }
      return out;
    }
    case Type::kSequence: {
      const Sequence& sequence = value.as_sequence();
      if (sequence.kind == SequenceKind::kGenerator && std::exchange(sequence.consumed, true)) return {};
      charge(1 + sequence.items.size());
      return sequence.items;
    }
    case Type::kMap: {
      charge(1 + value.as_map().entries.size());
      std::vector<Value> out;
      for (const auto& [key, item] : value.as_map().entries) out.push_back(key);
      return out;
    }
    default:
      render_error("'" + type_name(value) + "' object is not iterable");
  }
}

std::string Runtime::text_of(const Value& value) {
  if (!value.is_string()) charge(value.extent().weight * 8);
  return to_text(value);
}

std::int64_t Runtime::length(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kString:
      charge(1 + value.as_string().size() / 64);
      return count_scalars(value.as_string());
    case Type::kSequence:
      if (value.as_sequence().kind != SequenceKind::kGenerator) {
        return static_cast<std::int64_t>(value.as_sequence().items.size());
      }
      break;
    case Type::kMap:
      return static_cast<std::int64_t>(value.as_map().entries.size());
    default:
      break;
  }
  render_error("object of type '" + type_name(value) + "' has no len()");
}

}  // namespace awq::templates
