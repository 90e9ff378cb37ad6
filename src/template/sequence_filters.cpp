#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "template/filter_table.h"

namespace awq::templates {
namespace {

bool flag(const Value* value, bool fallback) { return value == nullptr ? fallback : is_true(*value); }

Value generator(std::vector<Value> items) { return Value::sequence(SequenceKind::kGenerator, std::move(items)); }

/// Text compares without regard to case, unless the filter is asked to.
Value sort_key(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  runtime.charge_text(value.as_string().size());
  return lowered(value.as_string());
}

/// n log n comparisons of values whose weights add up to `weight`.
void charge_sort(Runtime& runtime, std::size_t count, std::uint64_t weight) {
  const double log = std::log2(static_cast<double>(count) + 2);
  runtime.charge(static_cast<std::uint64_t>(static_cast<double>(count + weight) * log));
}

/// Sorts by the keys; stable. Keys without an order throw.
std::vector<Value> sorted(Runtime& runtime, std::vector<std::pair<Value, Value>> keyed, bool reverse) {
  std::uint64_t weight = 0;
  for (const auto& [key, value] : keyed) weight += key.extent().weight;
  charge_sort(runtime, keyed.size(), weight);
  // A comparison that throws in the middle of std::stable_sort only loses the copy being sorted.
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first) : less(a.first, b.first);
  });
  std::vector<Value> out;
  for (auto& [key, value] : keyed) out.push_back(std::move(value));
  return out;
}

Value batch(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("batch", args, {"linecount", "fill_with"});
  const std::int64_t size = a[0] == nullptr ? 0 : require_int(*a[0], "batch");
  if (size < 1 || size > runtime.limits().range_length) render_error("batch: expected a size of at least 1");
  std::vector<Value> out;
  std::vector<Value> row;
  for (const Value& item : runtime.iterate(in)) {
    row.push_back(item);
    if (static_cast<std::int64_t>(row.size()) == size) out.push_back(Value::list(std::exchange(row, {})));
  }
  if (!row.empty()) {
    if (a[1] != nullptr && !a[1]->is_none()) {
      runtime.charge(static_cast<std::uint64_t>(size));
      row.resize(static_cast<std::size_t>(size), *a[1]);
    }
    out.push_back(Value::list(std::move(row)));
  }
  return generator(std::move(out));
}

Value dictsort(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = a[1] == nullptr ? "key" : require_string(*a[1], "dictsort");
  if (by != "key" && by != "value") render_error("You can only sort by either \"key\" or \"value\"");
  require_defined(in);
  if (!in.is_map()) render_error("'" + type_name(in) + "' object has no attribute 'items'");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : in.as_map().entries) {
    keyed.emplace_back(sort_key(runtime, by == "key" ? key : value, flag(a[0], false)), Value::tuple({key, value}));
  }
  return Value::list(sorted(runtime, std::move(keyed), flag(a[2], false)));
}

Value end_of(Runtime& runtime, const Value& in, bool last) {
  const std::vector<Value> items = runtime.iterate(in);
  if (items.empty())
    return Value::undefined(last ? "No last item, sequence was empty." : "No first item, sequence was empty.");
  return last ? items.back() : items.front();
}

Value first(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("first", args, {});
  return end_of(runtime, in, false);
}
Value last(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("last", args, {});
  return end_of(runtime, in, true);
}

Value groupby(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("groupby", args, {"attribute", "default", "case_sensitive"});
  if (a[0] == nullptr) render_error("groupby: expected an attribute");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : runtime.iterate(in)) {
    Value key = attribute_path(runtime, item, *a[0]);
    if (key.is_undefined() && a[1] != nullptr) key = *a[1];
    Value pair = Value::tuple({key, item});
    keyed.emplace_back(sort_key(runtime, key, flag(a[2], false)), std::move(pair));
  }
  std::vector<Value> out;
  std::vector<Value> group;
  Value group_key;
  Value group_name;
  const auto close = [&] {
    if (!group.empty()) out.push_back(Value::tuple({group_name, Value::list(std::exchange(group, {}))}));
  };
  for (const Value& pair : sorted(runtime, std::move(keyed), false)) {
    const auto& parts = pair.as_sequence().items;
    const Value key = sort_key(runtime, parts[0], flag(a[2], false));
    if (group.empty() || !equals(key, group_key)) {
      close();
      group_key = key;
      group_name = parts[0];
    }
    group.push_back(parts[1]);
  }
  close();
  return Value::list(std::move(out));
}

Value items(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("items", args, {});
  if (in.is_undefined()) return generator({});
  if (!in.is_map()) render_error("Can only get item pairs from a mapping.");
  runtime.charge(in.as_map().entries.size() * 3);
  std::vector<Value> out;
  for (const auto& [key, value] : in.as_map().entries) out.push_back(Value::tuple({key, value}));
  return generator(std::move(out));
}

Value list(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("list", args, {});
  return Value::list(runtime.iterate(in));
}

Value extreme(Runtime& runtime, const Value& in, const CallArgs& args, bool want_less) {
  const auto a = bind(want_less ? "min" : "max", args, {"case_sensitive", "attribute"});
  Value best = Value::undefined("No aggregated item, sequence was empty.");
  Value best_key;
  for (const Value& item : runtime.iterate(in)) {
    const Value key =
        sort_key(runtime, a[1] == nullptr ? item : attribute_path(runtime, item, *a[1]), flag(a[0], false));
    runtime.charge(key.extent().weight);
    if (best.is_undefined() || (want_less ? less(key, best_key) : less(best_key, key))) {
      best = item;
      best_key = key;
    }
  }
  return best;
}
Value min(Runtime& runtime, const Value& in, const CallArgs& args) { return extreme(runtime, in, args, true); }
Value max(Runtime& runtime, const Value& in, const CallArgs& args) { return extreme(runtime, in, args, false); }

Value map(Runtime& runtime, const Value& in, const CallArgs& args) {
  std::vector<Value> out;
  if (args.positional.empty()) {
    const auto a = bind("map", args, {"attribute", "default"});
    if (a[0] == nullptr) render_error("map requires a filter argument");
    for (const Value& item : runtime.iterate(in)) {
      Value value = attribute_path(runtime, item, *a[0]);
      out.push_back(value.is_undefined() && a[1] != nullptr ? *a[1] : std::move(value));
    }
    return generator(std::move(out));
  }
  const std::string& name = require_string(args.positional[0], "map");
  CallArgs rest{{args.positional.begin() + 1, args.positional.end()}, args.named};
  for (const Value& item : runtime.iterate(in)) out.push_back(apply_filter(runtime, name, item, rest));
  return generator(std::move(out));
}

/// select, reject, selectattr and rejectattr: [attribute,] [test, arguments of the test].
Value chosen(Runtime& runtime, const Value& in, const CallArgs& args, bool by_attribute, bool wanted) {
  std::size_t used = by_attribute ? 1 : 0;
  if (args.positional.size() < used) render_error("Missing parameter for attribute name");
  const Value* path = by_attribute ? &args.positional[0] : nullptr;
  const bool has_test = args.positional.size() > used;
  const std::string test = has_test ? require_string(args.positional[used++], "select") : "";
  CallArgs rest{{args.positional.begin() + static_cast<std::ptrdiff_t>(used), args.positional.end()}, args.named};
  std::vector<Value> out;
  for (const Value& item : runtime.iterate(in)) {
    const Value value = path == nullptr ? item : attribute_path(runtime, item, *path);
    if ((has_test ? apply_test(runtime, test, value, rest) : is_true(value)) == wanted) out.push_back(item);
  }
  return generator(std::move(out));
}
Value select(Runtime& r, const Value& in, const CallArgs& args) { return chosen(r, in, args, false, true); }
Value reject(Runtime& r, const Value& in, const CallArgs& args) { return chosen(r, in, args, false, false); }
Value selectattr(Runtime& r, const Value& in, const CallArgs& args) { return chosen(r, in, args, true, true); }
Value rejectattr(Runtime& r, const Value& in, const CallArgs& args) { return chosen(r, in, args, true, false); }

Value reverse(Runtime& runtime, const Value& in, const CallArgs& args) {
  bind("reverse", args, {});
  if (in.is_string()) return runtime.slice(in, {}, {}, -1);
  std::vector<Value> out = runtime.iterate(in);
  std::reverse(out.begin(), out.end());
  return generator(std::move(out));
}

Value sort(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("sort", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<std::string> paths;
  if (a[2] != nullptr && a[2]->is_string()) {
    std::string_view rest = a[2]->as_string();
    while (true) {
      paths.emplace_back(rest.substr(0, rest.find(',')));
      if (paths.back().size() == rest.size()) break;
      rest.remove_prefix(paths.back().size() + 1);
    }
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : runtime.iterate(in)) {
    Value key = item;
    if (a[2] != nullptr && paths.size() < 2) key = attribute_path(runtime, item, *a[2]);
    key = sort_key(runtime, key, flag(a[1], false));
    if (paths.size() >= 2) {
      std::vector<Value> parts;
      for (const std::string& path : paths) {
        parts.push_back(sort_key(runtime, attribute_path(runtime, item, path), flag(a[1], false)));
      }
      key = Value::list(std::move(parts));
    }
    keyed.emplace_back(std::move(key), item);
  }
  return Value::list(sorted(runtime, std::move(keyed), flag(a[0], false)));
}

Value slice(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("slice", args, {"slices", "fill_with"});
  const std::int64_t count = a[0] == nullptr ? 0 : require_int(*a[0], "slice");
  if (count < 1 || count > runtime.limits().range_length) render_error("slice: expected at least 1 slice");
  runtime.charge(static_cast<std::uint64_t>(count) * 2);
  const std::vector<Value> all = runtime.iterate(in);
  const std::size_t slices = static_cast<std::size_t>(count);
  const std::size_t each = all.size() / slices;
  const std::size_t longer = all.size() % slices;
  std::vector<Value> out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < slices; ++i) {
    const std::size_t end = at + each + (i < longer ? 1 : 0);
    std::vector<Value> part(all.begin() + static_cast<std::ptrdiff_t>(at),
                            all.begin() + static_cast<std::ptrdiff_t>(end));
    if (a[1] != nullptr && !a[1]->is_none() && i >= longer) part.push_back(*a[1]);
    out.push_back(Value::list(std::move(part)));
    at = end;
  }
  return generator(std::move(out));
}

Value sum(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("sum", args, {"attribute", "start"});
  Value total = a[1] == nullptr ? Value(0) : *a[1];
  for (const Value& item : runtime.iterate(in)) {
    const bool by_attribute = a[0] != nullptr && !a[0]->is_none();
    total = binary(runtime, "+", total, by_attribute ? attribute_path(runtime, item, *a[0]) : item);
  }
  return total;
}

Value unique(Runtime& runtime, const Value& in, const CallArgs& args) {
  const auto a = bind("unique", args, {"case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> seen;
  for (const Value& item : runtime.iterate(in)) {
    Value key = a[1] == nullptr ? item : attribute_path(runtime, item, *a[1]);
    key = sort_key(runtime, key, flag(a[0], false));
    runtime.charge(key.extent().weight);
    seen.emplace_back(std::move(key), item);
  }
  // A map keeps the place of the first of equal keys, which is what is asked for, but the last value.
  std::reverse(seen.begin(), seen.end());
  const Value by_key = Value::map(seen);
  std::reverse(seen.begin(), seen.end());
  std::vector<Value> out;
  std::vector<std::pair<Value, Value>> order = seen;
  const Value in_order = Value::map(std::move(order));
  for (const auto& [key, value] : in_order.as_map().entries) out.push_back(*by_key.as_map().find(key));
  return generator(std::move(out));
}

constexpr FilterRow kRows[] = {
    {"batch", batch},     {"dictsort", dictsort}, {"first", first},
    {"groupby", groupby}, {"items", items},       {"last", last},
    {"list", list},       {"map", map},           {"max", max},
    {"min", min},         {"reject", reject},     {"rejectattr", rejectattr},
    {"reverse", reverse}, {"select", select},     {"selectattr", selectattr},
    {"slice", slice},     {"sort", sort},         {"sum", sum},
    {"unique", unique},
};

}  // namespace

std::span<const FilterRow> sequence_filters() { return kRows; }

}  // namespace awq::templates
