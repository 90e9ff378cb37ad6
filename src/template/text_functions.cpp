// Work on text that methods and filters share: case, stripping, replacing, formatting.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/check.h"
#include "template/lexer.h"
#include "template/runtime.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::templates {
namespace {

constexpr std::int64_t kMaxWidth = 1000;

template <typename F>
std::string mapped(std::string_view text, const F& f) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const text::Scalar c = text::scalar_at(text, at);
    text::append_utf8(out, f(c.value));
    at += c.bytes;
  }
  return out;
}

bool is_cased(char32_t c) { return text::to_lower(c) != c || text::to_upper(c) != c; }

std::string padded(std::string text, std::int64_t width, char align) {
  const std::int64_t missing = width - count_scalars(text);
  if (missing <= 0) return text;
  const auto left = static_cast<std::size_t>(align == '>' ? missing : align == '^' ? missing / 2 : 0);
  return std::string(left, ' ') + text + std::string(static_cast<std::size_t>(missing) - left, ' ');
}

/// One value by a printf-like specification: flags, width, precision, letter.
struct Spec {
  bool left = false, zero = false, plus = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char letter = 's';
};

std::string apply_spec(const Spec& spec, const Value& value) {
  const char letter = spec.letter;
  std::string out;
  if (letter == 's' || letter == 'r') {
    out = letter == 's' ? to_text(value) : to_repr(value);
    if (spec.precision >= 0) {
      std::size_t end = 0;
      for (std::int64_t i = 0; i < spec.precision && end < out.size(); ++i) end += text::scalar_at(out, end).bytes;
      out.resize(end);
    }
    return padded(out, spec.width, spec.left ? '<' : '>');
  }
  require_defined(value);
  if (!value.is_number())
    render_error(fmt::format("%{} format: a number is required, not {}", letter, type_name(value)));
  if (std::string_view("dixXo").find(letter) != std::string_view::npos) {
    const double truncated = value.is_float() ? std::trunc(value.as_float()) : 0;
    if (!(std::abs(truncated) < 9e18)) render_error("number too large to format");
    const std::int64_t number = value.is_float() ? static_cast<std::int64_t>(truncated) : value.as_int();
    const std::uint64_t size = number < 0 ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
    out = letter == 'x'   ? fmt::format("{:x}", size)
          : letter == 'X' ? fmt::format("{:X}", size)
          : letter == 'o' ? fmt::format("{:o}", size)
                          : fmt::format("{}", size);
    if (number < 0) out.insert(0, "-");
  } else {
    const double number = value.as_float();
    const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
    switch (letter) {
      case 'e':
        out = fmt::format("{:.{}e}", number, precision);
        break;
      case 'g':
        out = fmt::format("{:.{}g}", number, precision);
        break;
      default:
        out = fmt::format("{:.{}f}", number, precision);
    }
  }
  if (spec.plus && out[0] != '-') out.insert(0, "+");
  if (spec.zero && !spec.left) {
    const std::size_t sign = out[0] == '-' || out[0] == '+' ? 1 : 0;
    const auto width = static_cast<std::size_t>(spec.width);
    if (out.size() < width) out.insert(sign, width - out.size(), '0');
  }
  return padded(out, spec.width, spec.left ? '<' : '>');
}

std::int64_t read_number(std::string_view text, std::size_t& at) {
  std::int64_t out = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
    out = out * 10 + (text[at++] - '0');
    if (out > kMaxWidth) render_error("format: width or precision above 1000");
  }
  return out;
}

/// What stands after the colon in braces: [<>^][0][width][.precision][letter].
std::string apply_brace_spec(std::string_view text, const Value& value) {
  if (text.empty()) return to_text(value);
  Spec spec;
  std::size_t at = 0;
  char align = value.is_number() && !value.is_bool() ? '>' : '<';
  if (text[at] == '<' || text[at] == '>' || text[at] == '^') align = text[at++];
  if (at < text.size() && text[at] == '+') spec.plus = true, ++at;
  if (at < text.size() && text[at] == '0') spec.zero = true, ++at;
  const std::int64_t width = read_number(text, at);
  if (at < text.size() && text[at] == '.') spec.precision = read_number(text, ++at);
  const bool whole = value.is_int() || value.is_bool();
  spec.letter = at < text.size() ? text[at++] : whole ? 'd' : value.is_float() && spec.precision >= 0 ? 'g' : 's';
  if (at != text.size() || std::string_view("sdxXofeg").find(spec.letter) == std::string_view::npos) {
    render_error("format specification '" + printable(text, 40) + "' is not supported");
  }
  if (spec.zero) spec.width = width;
  return padded(apply_spec(spec, value), width, align);
}

}  // namespace

std::int64_t count_scalars(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::string lowered(std::string_view text) { return mapped(text, text::to_lower); }
std::string uppered(std::string_view text) { return mapped(text, text::to_upper); }

std::string capitalized(std::string_view text) {
  bool first = true;
  return mapped(text, [&](char32_t c) { return std::exchange(first, false) ? text::to_upper(c) : text::to_lower(c); });
}

std::string titled(std::string_view text) {
  bool inside = false;
  return mapped(text, [&](char32_t c) {
    const bool cased = is_cased(c);
    const char32_t out = inside ? text::to_lower(c) : text::to_upper(c);
    inside = cased;
    return out;
  });
}

std::string_view stripped(std::string_view text, const std::string* chars, bool left, bool right) {
  if (chars == nullptr) {
    if (left) text = strip_left(text);
    return right ? strip_right(text) : text;
  }
  std::vector<char32_t> set;
  for (std::size_t at = 0; at < chars->size();) {
    const text::Scalar c = text::scalar_at(*chars, at);
    set.push_back(c.value);
    at += c.bytes;
  }
  std::sort(set.begin(), set.end());
  const auto in_set = [&](char32_t c) { return std::binary_search(set.begin(), set.end(), c); };
  while (left && !text.empty()) {
    const text::Scalar c = text::scalar_at(text, 0);
    if (!in_set(c.value)) break;
    text.remove_prefix(c.bytes);
  }
  while (right && !text.empty()) {
    const text::Scalar c = text::scalar_before(text, text.size());
    if (!in_set(c.value)) break;
    text.remove_suffix(c.bytes);
  }
  return text;
}

std::string replaced(Runtime& runtime, std::string_view text, std::string_view from, std::string_view to,
                     std::int64_t count) {
  std::string out;
  std::uint64_t left = count < 0 ? UINT64_MAX : static_cast<std::uint64_t>(count);
  std::size_t at = 0;
  runtime.charge_text(text.size());
  const auto put = [&](std::string_view piece) {
    runtime.charge_text(out.size() + piece.size() > runtime.limits().output_bytes ? out.size() + piece.size()
                                                                                  : piece.size());
    out += piece;
  };
  if (from.empty()) {
    // Between all characters and at both ends.
    while (left-- > 0) {
      put(to);
      if (at == text.size()) return out;
      const std::size_t bytes = text::scalar_at(text, at).bytes;
      out += text.substr(at, bytes);
      at += bytes;
    }
    return out += text.substr(at);
  }
  while (left > 0) {
    const std::size_t next = text.find(from, at);
    if (next == std::string_view::npos) break;
    put(text.substr(at, next - at));
    put(to);
    at = next + from.size();
    --left;
  }
  return out += text.substr(at);
}

std::string format_percent(Runtime& runtime, const std::string& format, const Value& values) {
  const bool is_tuple = values.is_sequence() && values.as_sequence().kind == SequenceKind::kTuple;
  const std::vector<Value> items = is_tuple ? values.as_sequence().items : std::vector<Value>{values};
  std::size_t used = 0;
  std::string out;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    if (++at >= format.size()) render_error("incomplete format");
    if (format[at] == '%') {
      out += '%';
      continue;
    }
    Value value;
    bool named = false;
    if (format[at] == '(') {
      const std::size_t end = format.find(')', at);
      if (end == std::string::npos) render_error("incomplete format key");
      if (!values.is_map()) render_error("format requires a mapping");
      const Value* found = values.as_map().find(std::string_view(format).substr(at + 1, end - at - 1));
      if (found == nullptr) render_error("format: missing key");
      value = *found;
      named = true;
      at = end + 1;
    }
    Spec spec;
    for (; at < format.size(); ++at) {
      if (format[at] == '-')
        spec.left = true;
      else if (format[at] == '0')
        spec.zero = true;
      else if (format[at] == '+')
        spec.plus = true;
      else
        break;
    }
    spec.width = read_number(format, at);
    if (at < format.size() && format[at] == '.') spec.precision = read_number(format, ++at);
    if (at >= format.size()) render_error("incomplete format");
    spec.letter = format[at];
    if (std::string_view("srdixXofFeg").find(spec.letter) == std::string_view::npos) {
      render_error("unsupported format character");
    }
    if (!named) {
      if (used >= items.size()) render_error("not enough arguments for format string");
      value = items[used++];
    }
    runtime.charge(value.extent().weight * 8);
    out += apply_spec(spec, value);
    runtime.charge_text(out.size() > runtime.limits().output_bytes ? out.size() : 64);
  }
  if (used < items.size() && !values.is_map()) render_error("not all arguments converted during string formatting");
  return out;
}

std::string format_braces(Runtime& runtime, const std::string& format, const CallArgs& args) {
  std::string out;
  std::size_t automatic = 0;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    if (c == '}') render_error("Single '}' encountered in format string");
    if (c != '{') {
      out += c;
      continue;
    }
    const std::size_t end = format.find('}', at);
    if (end == std::string::npos) render_error("Single '{' encountered in format string");
    const std::string_view field = std::string_view(format).substr(at + 1, end - at - 1);
    const std::string_view name = field.substr(0, field.find(':'));
    const std::string_view spec = name.size() < field.size() ? field.substr(name.size() + 1) : std::string_view();
    const Value* value = nullptr;
    const bool is_index = std::all_of(name.begin(), name.end(), [](char d) { return d >= '0' && d <= '9'; });
    if (is_index) {
      std::size_t digits = 0;
      const auto index = name.empty() ? automatic++ : static_cast<std::size_t>(read_number(name, digits));
      if (index < args.positional.size()) value = &args.positional[index];
    } else {
      for (const auto& [key, candidate] : args.named) {
        if (key == name) value = &candidate;
      }
    }
    if (value == nullptr) render_error("format: no argument for field '" + printable(name, 40) + "'");
    runtime.charge(value->extent().weight * 8);
    out += apply_brace_spec(spec, *value);
    runtime.charge_text(out.size() > runtime.limits().output_bytes ? out.size() : 64);
    at = end;
  }
  return out;
}

}  // namespace awq::templates
