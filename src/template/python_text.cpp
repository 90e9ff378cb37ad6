// How Python writes values: str(), repr(), json.dumps().

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "template/value.h"
#include "text/utf8.h"

namespace awq::templates {
namespace {

constexpr char kHex[] = "0123456789abcdef";

void append_hex(std::string& out, char32_t value, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kHex[(value >> shift) & 15];
}

/// Python escapes what is not printable; of the characters beyond ASCII these are the ones met in practice.
bool is_printable(char32_t c) {
  if (c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD) return false;
  if (c >= 0x2000 && c <= 0x200F) return false;
  if (c >= 0x2028 && c <= 0x202F) return false;
  if (c >= 0x205F && c <= 0x206F) return false;
  if (c >= 0xD800 && c <= 0xF8FF) return false;
  return c != 0x3000 && c != 0xFEFF && c != 0x1680 && c < 0xE0000;
}

void append_repr(std::string& out, std::string_view text) {
  const char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const text::Scalar c = text::scalar_at(text, at);
    if (c.value == static_cast<char32_t>(quote) || c.value == '\\') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value == '\n') {
      out += "\\n";
    } else if (c.value == '\r') {
      out += "\\r";
    } else if (c.value == '\t') {
      out += "\\t";
    } else if (is_printable(c.value)) {
      out.append(text.substr(at, c.bytes));
    } else if (c.value < 0x100) {
      out += "\\x";
      append_hex(out, c.value, 2);
    } else if (c.value < 0x10000) {
      out += "\\u";
      append_hex(out, c.value, 4);
    } else {
      out += "\\U";
      append_hex(out, c.value, 8);
    }
    at += c.bytes;
  }
  out += quote;
}

void append_repr(std::string& out, const Value& value, int depth);

void append_items(std::string& out, const std::vector<Value>& items, int depth) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    append_repr(out, items[i], depth);
  }
}

void append_sequence(std::string& out, const Sequence& sequence, int depth) {
  switch (sequence.kind) {
    case SequenceKind::kList:
      out += '[';
      append_items(out, sequence.items, depth);
      out += ']';
      return;
    case SequenceKind::kTuple:
      out += '(';
      append_items(out, sequence.items, depth);
      out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    case SequenceKind::kDictView:
      out += "dict_items([";
      append_items(out, sequence.items, depth);
      out += "])";
      return;
    case SequenceKind::kRange:
      out += "range(";
      append_repr(out, sequence.items.empty() ? Value(0) : sequence.items.front(), depth);
      out += ", ";
      append_repr(out, sequence.items.empty() ? Value(0) : Value(sequence.items.back().as_int() + 1), depth);
      out += ')';
      return;
    case SequenceKind::kGenerator:
      out += "<generator object>";
      return;
  }
}

/// Containers know their own depth, but a namespace can hold itself.
void append_repr(std::string& out, const Value& value, int depth) {
  if (depth > 200) render_error("maximum recursion depth exceeded while printing a value");
  switch (value.type()) {
    case Type::kUndefined:
      out += "Undefined";
      return;
    case Type::kNone:
      out += "None";
      return;
    case Type::kBool:
      out += value.as_bool() ? "True" : "False";
      return;
    case Type::kInt:
      out += std::to_string(value.as_int());
      return;
    case Type::kFloat:
      out += float_text(value.as_float());
      return;
    case Type::kString:
      append_repr(out, std::string_view(value.as_string()));
      return;
    case Type::kSequence:
      append_sequence(out, value.as_sequence(), depth + 1);
      return;
    case Type::kMap: {
      out += '{';
      bool first = true;
      for (const auto& [key, item] : value.as_map().entries) {
        if (!first) out += ", ";
        first = false;
        append_repr(out, key, depth + 1);
        out += ": ";
        append_repr(out, item, depth + 1);
      }
      out += '}';
      return;
    }
    case Type::kNamespace: {
      // What a namespace holds is weighed here: it can be changed after its holders were made.
      out += "<Namespace {";
      bool first = true;
      for (const auto& [key, item] : value.as_namespace()->attributes) {
        if (!first) out += ", ";
        first = false;
        append_repr(out, std::string_view(key));
        out += ": ";
        if (item.type() == Type::kNamespace || item.is_sequence() || item.is_map()) {
          out += item.type() == Type::kNamespace ? "<Namespace>" : type_name(item);
        } else {
          append_repr(out, item, depth + 1);
        }
      }
      out += "}>";
      return;
    }
    case Type::kLoop:
      out += "<LoopContext>";
      return;
    case Type::kCallable:
      out += "<function>";
      return;
  }
}

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const text::Scalar c = text::scalar_at(text, at);
    constexpr std::string_view kEscaped = "\"\\\n\r\t\b\f";
    constexpr std::string_view kLetters = "\"\\nrtbf";
    const std::size_t known = c.value < 0x80 ? kEscaped.find(static_cast<char>(c.value)) : std::string_view::npos;
    if (known != std::string_view::npos) {
      out += '\\';
      out += kLetters[known];
    } else if (c.value < 0x20 || (ensure_ascii && c.value >= 0x7F && c.value < 0x10000 && c.value != 0x7F)) {
      out += "\\u";
      append_hex(out, c.value, 4);
    } else if (ensure_ascii && c.value >= 0x10000) {
      const char32_t rest = c.value - 0x10000;
      out += "\\u";
      append_hex(out, 0xD800 + (rest >> 10), 4);
      out += "\\u";
      append_hex(out, 0xDC00 + (rest & 0x3FF), 4);
    } else {
      out.append(text.substr(at, c.bytes));
    }
    at += c.bytes;
  }
  out += '"';
}

std::string json_number(const Value& value) {
  if (!value.is_float()) return std::to_string(value.as_int());
  const double number = value.as_float();
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
  return float_text(number);
}

/// json.dumps() writes keys that are not text as text.
std::string key_text(const Value& key) {
  if (key.is_string()) return key.as_string();
  if (key.is_bool()) return key.as_bool() ? "true" : "false";
  if (key.is_none()) return "null";
  if (key.is_number()) return json_number(key);
  render_error("keys must be str, int, float, bool or None, not " + type_name(key));
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  std::string take() { return std::move(out_); }

  void write(const Value& value, int level) {
    switch (value.type()) {
      case Type::kNone:
        out_ += "null";
        return;
      case Type::kBool:
        out_ += value.as_bool() ? "true" : "false";
        return;
      case Type::kInt:
      case Type::kFloat:
        out_ += json_number(value);
        return;
      case Type::kString:
        append_json_string(out_, value.as_string(), style_.ensure_ascii);
        return;
      case Type::kSequence:
        if (value.as_sequence().kind == SequenceKind::kList || value.as_sequence().kind == SequenceKind::kTuple) {
          write_list(value.as_sequence().items, level);
          return;
        }
        break;
      case Type::kMap:
        write_map(value.as_map(), level);
        return;
      default:
        break;
    }
    render_error("Object of type " + type_name(value) + " is not JSON serializable");
  }

 private:
  void new_line(int level) {
    if (!style_.pretty) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void write_list(const std::vector<Value>& items, int level) {
    out_ += '[';
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) new_line(level);
    out_ += ']';
  }

  void write_map(const Map& map, int level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : map.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [](auto* a, auto* b) { return less(a->first, b->first); });
    }
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      append_json_string(out_, key_text(entries[i]->first), style_.ensure_ascii);
      out_ += style_.key_separator;
      write(entries[i]->second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out_ += '}';
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 64> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t e = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
  std::string sign = text[0] == '-' ? "-" : "";
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    const std::string size = std::to_string(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (size.size() < 2 ? "0" : "") + size;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string to_text(const Value& value) {
  if (value.is_string()) return value.as_string();
  if (value.is_undefined()) return {};
  return to_repr(value);
}

std::string to_repr(const Value& value) {
  std::string out;
  append_repr(out, value, 0);
  return out;
}

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace awq::templates
