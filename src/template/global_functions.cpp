// The functions that every template sees.

#include <array>
#include <ctime>

#include "base/check.h"
#include "template/interpreter.h"
#include "text/utf8.h"

namespace awq::templates {
namespace {

Value range(Runtime& runtime, const CallArgs& args) {
  const auto a = bind("range", args, {"start", "stop", "step"});
  if (a[0] == nullptr) render_error("range expected at least 1 argument, got 0");
  const std::int64_t start = a[1] == nullptr ? 0 : require_int(*a[0], "range");
  const std::int64_t stop = require_int(a[1] == nullptr ? *a[0] : *a[1], "range");
  const std::int64_t step = a[2] == nullptr ? 1 : require_int(*a[2], "range");
  if (step == 0) render_error("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(items.size()) >= runtime.limits().range_length) {
      render_error(fmt::format("range too big: more than {} items", runtime.limits().range_length));
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  runtime.charge(items.size());
  return Value::sequence(SequenceKind::kRange, std::move(items));
}

std::string formatted_time(const Runtime& runtime, const std::string& format) {
  if (format.size() > 256 || format.find('\0') != std::string::npos) render_error("strftime_now: format too long");
  const std::tm now = runtime.now();
  std::array<char, 8192> buffer;
  // A mark at the end tells an empty result from one that does not fit.
  const std::string marked = format + "|";
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), marked.c_str(), &now);
  if (size == 0) render_error("strftime_now: the result is too long");
  std::string out(buffer.data(), size - 1);
  if (text::valid_utf8_prefix(out) != out.size()) render_error("strftime_now: the result is not UTF-8");
  return out;
}

constexpr const char* kNames[] = {"range", "dict", "namespace", "raise_exception", "strftime_now"};

}  // namespace

std::span<const char* const> global_functions() { return kNames; }

Value call_global(Runtime& runtime, const std::string& name, const CallArgs& args) {
  if (name == "raise_exception") {
    const auto a = bind(name, args, {"message"});
    throw TemplateRefusal(ErrorCode::kInvalidArgument, a[0] == nullptr ? "" : runtime.text_of(*a[0]));
  }
  if (name == "strftime_now") {
    const auto a = bind(name, args, {"format"});
    if (a[0] == nullptr) render_error("strftime_now: expected a format");
    return formatted_time(runtime, require_string(*a[0], name));
  }
  if (name == "range") return range(runtime, args);
  std::vector<std::pair<Value, Value>> entries;
  if (args.positional.size() > 1) render_error(name + " expected at most 1 argument");
  if (!args.positional.empty()) {
    if (!args.positional[0].is_map()) render_error(name + ": expected a mapping");
    runtime.charge(args.positional[0].as_map().entries.size());
    entries = args.positional[0].as_map().entries;
  }
  for (const auto& [key, value] : args.named) entries.emplace_back(key, value);
  Value map = Value::map(std::move(entries));
  if (name == "dict") return map;
  std::vector<std::pair<std::string, Value>> attributes;
  for (const auto& [key, value] : map.as_map().entries) attributes.emplace_back(require_string(key, name), value);
  return runtime.make_namespace(std::move(attributes));
}

}  // namespace awq::templates
