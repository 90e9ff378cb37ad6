// Methods of str, dict, list and tuple.

#include <algorithm>
#include <span>

#include "base/check.h"
#include "template/lexer.h"
#include "template/runtime.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::templates {
namespace {

using Names = std::span<const std::string_view>;

constexpr std::string_view kTextMethods[] = {
    "capitalize",   "count",        "endswith", "find",     "format", "index",      "isalnum", "isalpha",  "isdecimal",
    "isdigit",      "islower",      "isspace",  "isupper",  "join",   "ljust",      "lower",   "lstrip",   "partition",
    "removeprefix", "removesuffix", "replace",  "rfind",    "rjust",  "rpartition", "rsplit",  "rstrip",   "split",
    "splitlines",   "startswith",   "strip",    "swapcase", "title",  "upper",      "zfill",   "casefold", "center"};
constexpr std::string_view kMapMethods[] = {"copy", "get", "items", "keys", "values"};
constexpr std::string_view kMapBlocked[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListMethods[] = {"copy", "count", "index"};
constexpr std::string_view kListBlocked[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};

bool is_in(std::string_view name, Names names) { return std::find(names.begin(), names.end(), name) != names.end(); }

std::int64_t integer_or(const Value* value, std::int64_t fallback, std::string_view what) {
  return value == nullptr || value->is_none() ? fallback : require_int(*value, what);
}

Value pieces(Runtime& runtime, std::vector<Value> out) {
  runtime.charge(out.size() * 2);
  return Value::list(std::move(out));
}

/// split() without a separator: runs of white space part, none at the ends.
std::vector<Value> split_space(std::string_view text, std::int64_t limit, bool from_right) {
  std::vector<Value> out;
  text = from_right ? strip_right(text) : strip_left(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(out.size()) == limit) {
      out.emplace_back(from_right ? strip_right(text) : text);
      break;
    }
    std::size_t at = from_right ? text.size() : 0;
    while (from_right ? at > 0 : at < text.size()) {
      const text::Scalar c = from_right ? text::scalar_before(text, at) : text::scalar_at(text, at);
      if (is_python_space(c.value)) break;
      at = from_right ? at - c.bytes : at + c.bytes;
    }
    out.emplace_back(from_right ? text.substr(at) : text.substr(0, at));
    text = from_right ? strip_right(text.substr(0, at)) : strip_left(text.substr(at));
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Value> split_by(std::string_view text, std::string_view separator, std::int64_t limit, bool from_right) {
  std::vector<Value> out;
  while (limit < 0 || static_cast<std::int64_t>(out.size()) < limit) {
    const std::size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    out.emplace_back(from_right ? text.substr(at + separator.size()) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(at + separator.size());
  }
  out.emplace_back(text);
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

Value split(Runtime& runtime, const std::string& text, const std::string& name, const CallArgs& args) {
  const auto a = bind(name, args, {"sep", "maxsplit"});
  const std::int64_t limit = integer_or(a[1], -1, "maxsplit");
  runtime.charge(text.size());
  const bool from_right = name == "rsplit";
  if (a[0] == nullptr || a[0]->is_none()) return pieces(runtime, split_space(text, limit, from_right));
  const std::string& separator = require_string(*a[0], name);
  if (separator.empty()) render_error("empty separator");
  return pieces(runtime, split_by(text, separator, limit, from_right));
}

Value split_lines(Runtime& runtime, const std::string& text, const CallArgs& args) {
  const auto a = bind("splitlines", args, {"keepends"});
  const bool keep = a[0] != nullptr && is_true(*a[0]);
  runtime.charge(text.size());
  std::vector<Value> out;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const text::Scalar c = text::scalar_at(text, at);
    const bool ends = (c.value >= 0x0A && c.value <= 0x0D) || (c.value >= 0x1C && c.value <= 0x1E) || c.value == 0x85 ||
                      c.value == 0x2028 || c.value == 0x2029;
    std::size_t next = at + c.bytes;
    if (c.value == '\r' && next < text.size() && text[next] == '\n') ++next;
    if (ends) {
      out.emplace_back(text.substr(begin, (keep ? next : at) - begin));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) out.emplace_back(text.substr(begin));
  return pieces(runtime, std::move(out));
}

bool affix(const std::string& text, const std::string& name, const CallArgs& args) {
  const auto a = bind(name, args, {"prefix"});
  if (a[0] == nullptr) render_error(name + "() takes at least 1 argument (0 given)");
  const auto matches = [&](const Value& value) {
    const std::string& part = require_string(value, name);
    return name == "startswith" ? text.starts_with(part) : text.ends_with(part);
  };
  if (a[0]->is_sequence() && a[0]->as_sequence().kind == SequenceKind::kTuple) {
    const auto& parts = a[0]->as_sequence().items;
    return std::any_of(parts.begin(), parts.end(), matches);
  }
  return matches(*a[0]);
}

Value find(Runtime& runtime, const std::string& text, const std::string& name, const CallArgs& args) {
  const auto a = bind(name, args, {"sub"});
  if (a[0] == nullptr) render_error(name + "() takes at least 1 argument (0 given)");
  const std::string& part = require_string(*a[0], name);
  runtime.charge(1 + text.size() / 8);
  if (name == "count") {
    if (part.empty()) return count_scalars(text) + 1;
    std::int64_t count = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
    return count;
  }
  const std::size_t at = name == "rfind" ? text.rfind(part) : text.find(part);
  if (at == std::string::npos) {
    if (name == "index") render_error("substring not found");
    return -1;
  }
  return count_scalars(std::string_view(text).substr(0, at));
}

Value partition(const std::string& text, const std::string& name, const CallArgs& args) {
  const auto a = bind(name, args, {"sep"});
  if (a[0] == nullptr) render_error(name + "() takes exactly one argument (0 given)");
  const std::string& separator = require_string(*a[0], name);
  if (separator.empty()) render_error("empty separator");
  const bool right = name == "rpartition";
  const std::size_t at = right ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos) return right ? Value::tuple({"", "", text}) : Value::tuple({text, "", ""});
  return Value::tuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

Value justified(Runtime& runtime, const std::string& text, const std::string& name, const CallArgs& args) {
  const auto a = bind(name, args, {"width", "fillchar"});
  if (a[0] == nullptr) render_error(name + "() takes at least 1 argument (0 given)");
  const std::int64_t missing = std::max<std::int64_t>(0, require_int(*a[0], name) - count_scalars(text));
  std::string fill = name == "zfill" ? "0" : a[1] == nullptr ? " " : require_string(*a[1], name);
  if (count_scalars(fill) != 1) render_error("The fill character must be exactly one character long");
  runtime.charge_text(text.size() + static_cast<std::size_t>(missing) * fill.size());
  std::int64_t left = name == "ljust" ? 0 : missing;
  if (name == "center") left = missing / 2 + (missing & (missing + count_scalars(text)) & 1);
  std::string out;
  const std::size_t sign = name == "zfill" && (text.starts_with("-") || text.starts_with("+")) ? 1 : 0;
  out += text.substr(0, sign);
  for (std::int64_t i = 0; i < left; ++i) out += fill;
  out += text.substr(sign);
  for (std::int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

bool all_scalars(const std::string& text, bool (*is)(char32_t)) {
  for (std::size_t at = 0; at < text.size();) {
    const text::Scalar c = text::scalar_at(text, at);
    if (!is(c.value)) return false;
    at += c.bytes;
  }
  return !text.empty();
}

bool classified(const std::string& text, const std::string& name) {
  if (name == "isspace") return all_scalars(text, is_python_space);
  if (name == "isalpha") return all_scalars(text, text::is_letter);
  if (name == "isdigit" || name == "isdecimal")
    return all_scalars(text, [](char32_t c) { return c >= '0' && c <= '9'; });
  if (name == "isalnum") {
    return all_scalars(text, [](char32_t c) { return text::is_letter(c) || text::is_number(c); });
  }
  const bool cased = lowered(text) != text || uppered(text) != text;
  return cased && (name == "islower" ? lowered(text) == text : uppered(text) == text);
}

Value text_method(Runtime& runtime, const std::string& text, const std::string& name, const CallArgs& args) {
  if (name == "split" || name == "rsplit") return split(runtime, text, name, args);
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const auto a = bind(name, args, {"chars"});
    const bool given = a[0] != nullptr && !a[0]->is_none();
    runtime.charge_text(text.size());
    return stripped(text, given ? &require_string(*a[0], name) : nullptr, name != "rstrip", name != "lstrip");
  }
  if (name == "startswith" || name == "endswith") return affix(text, name, args);
  if (name == "find" || name == "rfind" || name == "index" || name == "count") return find(runtime, text, name, args);
  if (name == "partition" || name == "rpartition") return partition(text, name, args);
  if (name == "ljust" || name == "rjust" || name == "zfill" || name == "center") {
    return justified(runtime, text, name, args);
  }
  runtime.charge_text(text.size());
  if (name == "replace") {
    const auto a = bind(name, args, {"old", "new", "count"});
    if (a[1] == nullptr) render_error("replace expected at least 2 arguments");
    return replaced(runtime, text, require_string(*a[0], name), require_string(*a[1], name),
                    integer_or(a[2], -1, "count"));
  }
  if (name == "removeprefix" || name == "removesuffix") {
    const auto a = bind(name, args, {"affix"});
    if (a[0] == nullptr) render_error(name + "() takes exactly one argument (0 given)");
    const std::string& part = require_string(*a[0], name);
    if (name == "removeprefix") return text.starts_with(part) ? text.substr(part.size()) : text;
    return text.ends_with(part) ? text.substr(0, text.size() - part.size()) : text;
  }
  if (name == "join") {
    const auto a = bind(name, args, {"iterable"});
    if (a[0] == nullptr) render_error("join() takes exactly one argument (0 given)");
    std::string out;
    bool first = true;
    for (const Value& item : runtime.iterate(*a[0])) {
      const std::string& piece = require_string(item, "join()");
      runtime.charge_text(piece.size() + text.size());
      if (out.size() + piece.size() + text.size() > runtime.limits().output_bytes) runtime.charge_text(SIZE_MAX);
      if (!first) out += text;
      first = false;
      out += piece;
    }
    return out;
  }
  if (name == "format") return format_braces(runtime, text, args);
  if (name == "splitlines") return split_lines(runtime, text, args);
  bind(name, args, {});
  if (name == "lower" || name == "casefold") return lowered(text);
  if (name == "upper") return uppered(text);
  if (name == "title") return titled(text);
  if (name == "capitalize") return capitalized(text);
  if (name == "swapcase") {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const text::Scalar c = text::scalar_at(text, at);
      text::append_utf8(out, text::to_lower(c.value) != c.value ? text::to_lower(c.value) : text::to_upper(c.value));
      at += c.bytes;
    }
    return out;
  }
  return classified(text, name);
}

Value map_method(Runtime& runtime, const Value& self, const std::string& name, const CallArgs& args) {
  const Map& map = self.as_map();
  if (name == "get") {
    const auto a = bind(name, args, {"key", "default"});
    if (a[0] == nullptr) render_error("get expected at least 1 argument, got 0");
    if (const Value* found = map.find(*a[0])) return *found;
    return a[1] == nullptr ? Value() : *a[1];
  }
  bind(name, args, {});
  if (name == "copy") return self;
  runtime.charge(map.entries.size() * 3);
  std::vector<Value> out;
  for (const auto& [key, value] : map.entries) {
    if (name == "items") out.push_back(Value::tuple({key, value}));
    if (name == "keys") out.push_back(key);
    if (name == "values") out.push_back(value);
  }
  return Value::sequence(SequenceKind::kDictView, std::move(out));
}

Value list_method(Runtime& runtime, const Value& self, const std::string& name, const CallArgs& args) {
  const auto& items = self.as_sequence().items;
  if (name == "copy") {
    bind(name, args, {});
    return self;
  }
  const auto a = bind(name, args, {"value"});
  if (a[0] == nullptr) render_error(name + "() takes exactly one argument (0 given)");
  runtime.charge(self.extent().weight);
  std::int64_t count = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!equals(items[i], *a[0])) continue;
    if (name == "index") return static_cast<std::int64_t>(i);
    ++count;
  }
  if (name == "index") render_error("value is not in list");
  return count;
}

Value loop_method(Loop& loop, const std::string& name, const CallArgs& args) {
  if (name == "cycle") {
    if (args.positional.empty()) render_error("no items for cycling given");
    return args.positional[loop.index % args.positional.size()];
  }
  const auto same = [](const Value& a, const Value& b) { return equals(a, b); };
  const bool changed = !loop.has_changed || !std::equal(loop.last_changed.begin(), loop.last_changed.end(),
                                                        args.positional.begin(), args.positional.end(), same);
  loop.has_changed = true;
  loop.last_changed = args.positional;
  return changed;
}

}  // namespace

bool has_method(const Value& value, std::string_view name, bool& blocked) {
  blocked = false;
  if (name.starts_with("__")) {
    blocked = name == "__class__" || name == "__init__" || name == "__dict__" || name == "__doc__";
    return blocked;
  }
  switch (value.type()) {
    case Type::kString:
      return is_in(name, kTextMethods);
    case Type::kMap:
      blocked = is_in(name, kMapBlocked);
      return blocked || is_in(name, kMapMethods);
    case Type::kSequence: {
      const SequenceKind kind = value.as_sequence().kind;
      blocked = kind == SequenceKind::kList && is_in(name, kListBlocked);
      const bool has = kind == SequenceKind::kList || kind == SequenceKind::kTuple;
      return blocked || (has && is_in(name, kListMethods) && (kind == SequenceKind::kList || name != "copy"));
    }
    default:
      return false;
  }
}

Value call_method(Runtime& runtime, const Value& self, const std::string& name, const CallArgs& args) {
  runtime.charge(2);
  switch (self.type()) {
    case Type::kString:
      return text_method(runtime, self.as_string(), name, args);
    case Type::kMap:
      return map_method(runtime, self, name, args);
    case Type::kLoop:
      return loop_method(*self.as_loop(), name, args);
    default:
      return list_method(runtime, self, name, args);
  }
}

}  // namespace awq::templates
