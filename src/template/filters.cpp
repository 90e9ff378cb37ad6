#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "template/filter_table.h"
#include "template/lexer.h"
#include "template/runtime.h"

namespace awq::templates {
namespace {

const Value& or_default(const Value* value, const Value& fallback) { return value == nullptr ? fallback : *value; }

/// The text of a value with its cost paid.
std::string text_of(Runtime& runtime, const Value& value) {
  runtime.charge(value.extent().weight * 8);
  std::string out = to_text(value);
  runtime.charge_text(out.size());
  return out;
}

Value abs_of(Runtime&, const Value& in, const CallArgs& args) {
  bind("abs", args, {});
  require_defined(in);
  if (in.is_float()) return std::abs(in.as_float());
  const std::int64_t number = require_int(in, "bad operand type for abs()");
  if (number == INT64_MIN) render_error("abs: the result is beyond 64 bits");
  return number < 0 ? -number : number;
}

Value attr(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("attr", args, {"name"});
  if (a[0] == nullptr) render_error("attr: expected a name");
  const std::string& name = require_string(*a[0], "attr");
  // Attributes alone: the keys of a mapping are none.
  bool blocked = false;
  if (in.is_map() && !has_method(in, name, blocked))
    return Value::undefined("'dict object' has no attribute '" + name + "'");
  return runtime.attribute(in, name);
}

Value default_value(Runtime&, const Value& in, const CallArgs& args) {
  const auto a = bind("default", args, {"default_value", "boolean"});
  const bool falsy_too = a[1] != nullptr && is_true(*a[1]);
  return in.is_undefined() || (falsy_too && !is_true(in)) ? or_default(a[0], "") : in;
}

Value escape(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("escape", args, {});
  std::string out;
  for (const char c : text_of(runtime, in)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  runtime.charge_text(out.size());
  return out;
}

Value format(Runtime& runtime, const Value& in, const CallArgs& args) {
  if (args.named.empty()) return format_percent(runtime, text_of(runtime, in), Value::tuple(args.positional));
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, value] : args.named) entries.emplace_back(name, value);
  return format_percent(runtime, text_of(runtime, in), Value::map(std::move(entries)));
}

Value indent(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("indent", args, {"width", "first", "blank"});
  const Value width = or_default(a[0], 4);
  std::string pad;
  if (width.is_string()) {
    pad = width.as_string();
  } else {
    const std::int64_t count = require_int(width, "indent");
    if (count > 1000) render_error("indent: expected a width of at most 1000");
    pad.assign(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)), ' ');
  }
  const bool first = a[1] != nullptr && is_true(*a[1]);
  const bool blank = a[2] != nullptr && is_true(*a[2]);
  const std::string& text = require_string(in, "indent");
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  runtime.charge_text(text.size() + lines * pad.size());
  std::string out = first ? pad : "";
  for (std::size_t at = 0; at < text.size(); ++at) {
    out += text[at];
    if (text[at] != '\n') continue;
    const bool is_blank = at + 1 >= text.size() || text[at + 1] == '\n';
    if (blank || !is_blank) out += pad;
  }
  return out;
}

/// int(): whole text, blanks around it allowed. Nothing when that is no number.
std::optional<std::int64_t> parse_int(std::string_view text, int base) {
  text = strip_left(strip_right(text));
  const bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.remove_prefix(1);
  const std::string_view prefix = text.substr(0, 2);
  const bool has_prefix = (base == 16 && (prefix == "0x" || prefix == "0X")) ||
                          (base == 8 && (prefix == "0o" || prefix == "0O")) ||
                          (base == 2 && (prefix == "0b" || prefix == "0B"));
  if (has_prefix) text.remove_prefix(2);
  std::uint64_t size = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), size, base);
  if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  if (size > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
  return negative ? -static_cast<std::int64_t>(size) : static_cast<std::int64_t>(size);
}

std::optional<double> parse_float(std::string_view text) {
  text = strip_left(strip_right(text));
  if (text.starts_with("+")) text.remove_prefix(1);
  double out = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size()) return std::nullopt;
  return out;
}

std::optional<std::int64_t> truncated(double value) {
  if (!(std::abs(value) < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

Value int_of(Runtime&, const Value& in, const CallArgs& args) {
  const auto a = bind("int", args, {"default", "base"});
  const Value fallback = or_default(a[0], 0);
  const std::int64_t base = a[1] == nullptr ? 10 : require_int(*a[1], "int: base");
  if (base < 2 || base > 36) render_error("int() base must be >= 2 and <= 36");
  require_defined(in);
  std::optional<std::int64_t> out;
  if (in.is_string()) {
    out = parse_int(in.as_string(), static_cast<int>(base));
    if (!out && base == 10) {
      if (const auto number = parse_float(in.as_string())) out = truncated(*number);
    }
  } else if (in.is_float()) {
    out = truncated(in.as_float());
  } else if (in.is_number()) {
    out = in.as_int();
  }
  return out ? Value(*out) : fallback;
}

Value float_of(Runtime&, const Value& in, const CallArgs& args) {
  const auto a = bind("float", args, {"default"});
  require_defined(in);
  std::optional<double> out;
  if (in.is_string()) out = parse_float(in.as_string());
  if (in.is_number()) out = in.as_float();
  return out ? Value(*out) : or_default(a[0], 0.0);
}

Value join(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("join", args, {"d", "attribute"});
  const std::string separator = a[0] == nullptr ? "" : text_of(runtime, *a[0]);
  std::string out;
  bool first = true;
  for (const Value& item : runtime.iterate(in)) {
    if (!first) out += separator;
    first = false;
    out += text_of(runtime, a[1] == nullptr ? item : attribute_path(runtime, item, *a[1]));
    runtime.charge_text(out.size() > runtime.limits().output_bytes ? out.size() : separator.size());
  }
  return out;
}

Value length(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("length", args, {});
  return runtime.length(in);
}

Value replace(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("replace", args, {"old", "new", "count"});
  if (a[1] == nullptr) render_error("replace: expected the old and the new text");
  const std::int64_t count = a[2] == nullptr || a[2]->is_none() ? -1 : require_int(*a[2], "replace");
  return replaced(runtime, text_of(runtime, in), text_of(runtime, *a[0]), text_of(runtime, *a[1]), count);
}

Value round(Runtime&, const Value& in, const CallArgs& args) {
  const auto a = bind("round", args, {"precision", "method"});
  const std::int64_t precision = a[0] == nullptr ? 0 : require_int(*a[0], "round");
  const std::string method = a[1] == nullptr ? "common" : require_string(*a[1], "round");
  require_defined(in);
  if (!in.is_number() || std::abs(precision) > 300) render_error("round: expected a number");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return std::ceil(in.as_float() * scale) / scale;
  if (method == "floor") return std::floor(in.as_float() * scale) / scale;
  if (method != "common") render_error("method must be common, ceil or floor");
  // Decimal digits, correctly rounded, as Python's round() does.
  if (precision < 0) return std::nearbyint(in.as_float() * scale) / scale;
  const std::string digits = fmt::format("{:.{}f}", in.as_float(), precision);
  return *parse_float(digits);
}

Value string(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("string", args, {});
  return in.is_string() ? in : Value(text_of(runtime, in));
}

Value trim(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("trim", args, {"chars"});
  const bool given = a[0] != nullptr && !a[0]->is_none();
  const std::string text = text_of(runtime, in);
  return stripped(text, given ? &require_string(*a[0], "trim") : nullptr, true, true);
}

template <std::string (*function)(std::string_view)>
Value mapped(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("filter", args, {});
  return function(text_of(runtime, in));
}

/// Jinja2's title: a letter after white space or -([{< is large, all others small.
std::string jinja_title(std::string_view text) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t end = at;
    while (end < text.size() && std::string_view("-([{< \t\n\r\f\v").find(text[end]) == std::string_view::npos) ++end;
    out += capitalized(text.substr(at, end - at));
    if (end < text.size()) out += text[end++];
    at = end;
  }
  return out;
}

Value tojson(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = a[0] != nullptr && is_true(*a[0]);
  style.sort_keys = a[3] != nullptr && is_true(*a[3]);
  if (a[1] != nullptr && !a[1]->is_none()) {
    style.pretty = true;
    style.item_separator = ",";
    if (a[1]->is_string()) {
      style.indent = a[1]->as_string();
    } else {
      style.indent.assign(
          static_cast<std::size_t>(std::clamp<std::int64_t>(require_int(*a[1], "tojson: indent"), 0, 65)), ' ');
    }
    if (style.indent.size() > 64) render_error("tojson: expected an indent of at most 64");
  }
  if (a[2] != nullptr && !a[2]->is_none()) {
    const bool pair = a[2]->is_sequence() && a[2]->as_sequence().items.size() == 2;
    if (!pair) render_error("tojson: expected separators to be a pair of strings");
    style.item_separator = require_string(a[2]->as_sequence().items[0], "tojson: separators");
    style.key_separator = require_string(a[2]->as_sequence().items[1], "tojson: separators");
    if (style.item_separator.size() + style.key_separator.size() > 64) render_error("tojson: separators too long");
  }
  const Extent extent = in.extent();
  const std::uint64_t per_item =
      style.pretty ? 8 + style.indent.size() * static_cast<std::size_t>(extent.depth) / 8 : 8;
  runtime.charge(extent.weight * per_item);
  std::string out = to_json(in, style);
  runtime.charge_text(out.size());
  return out;
}

Value truncate(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("truncate", args, {"length", "killwords", "end", "leeway"});
  const std::int64_t size = a[0] == nullptr ? 255 : require_int(*a[0], "truncate");
  const std::string end = a[2] == nullptr ? "..." : require_string(*a[2], "truncate");
  const std::int64_t leeway = a[3] == nullptr || a[3]->is_none() ? 5 : require_int(*a[3], "truncate");
  const std::string text = text_of(runtime, in);
  if (size < count_scalars(end) || leeway < 0) render_error("truncate: expected a length of at least that of its end");
  if (count_scalars(text) <= size + std::min<std::int64_t>(leeway, 1'000'000)) return text;
  std::string cut = runtime.slice(text, {}, size - count_scalars(end), {}).as_string();
  if (a[1] == nullptr || !is_true(*a[1])) {
    if (const std::size_t blank = cut.rfind(' '); blank != std::string::npos) cut.resize(blank);
  }
  return cut + end;
}

Value word_count(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("wordcount", args, {});
  return runtime.length(call_method(runtime, text_of(runtime, in), "split", {}));
}

constexpr FilterRow kRows[] = {
    {"abs", abs_of},
    {"attr", attr},
    {"capitalize", mapped<capitalized>},
    {"count", length},
    {"d", default_value},
    {"default", default_value},
    {"e", escape},
    {"escape", escape},
    {"float", float_of},
    {"format", format},
    {"indent", indent},
    {"int", int_of},
    {"join", join},
    {"length", length},
    {"lower", mapped<lowered>},
    {"replace", replace},
    {"round", round},
    {"safe", string},
    {"string", string},
    {"title", mapped<jinja_title>},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", mapped<uppered>},
    {"wordcount", word_count},
};

}  // namespace

Value attribute_path(Runtime& runtime, Value value, const Value& path) {
  if (path.is_int()) return runtime.item(value, path);
  const std::string& text = require_string(path, "attribute");
  std::string_view rest = text;
  while (true) {
    const std::string part(rest.substr(0, rest.find('.')));
    const auto number = parse_int(part, 10);
    value = runtime.item(value, number ? Value(*number) : Value(part));
    if (part.size() == rest.size()) return value;
    rest.remove_prefix(part.size() + 1);
  }
}

Value apply_filter(Runtime& runtime, const std::string& name, const Value& input, const CallArgs& args) {
  runtime.charge(2);
  for (const std::span<const FilterRow> rows : {std::span<const FilterRow>(kRows), sequence_filters()}) {
    for (const FilterRow& row : rows) {
      if (name == row.name) return row.apply(runtime, input, args);
    }
  }
  render_error("No filter named '" + printable(name, 40) + "'.");
}

}  // namespace awq::templates
