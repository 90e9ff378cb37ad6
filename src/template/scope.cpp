#include "template/scope.h"

#include <algorithm>

#include "base/check.h"

namespace awq::templates {
namespace {

using Visit = std::function<void(const Expr&)>;

void walk(const ExprPtr& e, const Visit& visit) {
  if (e == nullptr) return;
  visit(*e);
  for (const ExprPtr& part : e->parts) walk(part, visit);
  for (const ExprPtr& part : e->positional) walk(part, visit);
  for (const auto& [name, part] : e->named) walk(part, visit);
  walk(e->star, visit);
  walk(e->double_star, visit);
}

}  // namespace

void visit_expressions(const Block& block, const Visit& visit) {
  for (const auto& stmt : block) {
    walk(stmt->expr, visit);
    walk(stmt->condition, visit);
    for (const auto& [condition, body] : stmt->branches) {
      walk(condition, visit);
      visit_expressions(body, visit);
    }
    for (const auto& [target, expr] : stmt->bindings) walk(expr, visit);
    visit_expressions(stmt->body, visit);
    visit_expressions(stmt->otherwise, visit);
    if (stmt->macro != nullptr) {
      for (const ExprPtr& part : stmt->macro->defaults) walk(part, visit);
      visit_expressions(stmt->macro->body, visit);
    }
  }
}

bool reads_name(const Block& block, std::string_view name) {
  bool found = false;
  visit_expressions(block, [&](const Expr& e) { found = found || (e.kind == ExprKind::kName && e.name == name); });
  return found;
}

void assign(Runtime& runtime, const Target& target, Value value, Scope& scope) {
  if (!target.tuple.empty()) {
    if (!value.is_string() && !value.is_sequence() && !value.is_map()) {
      require_defined(value);
      render_error("cannot unpack non-iterable " + type_name(value) + " object");
    }
    const std::vector<Value> items = runtime.iterate(value);
    if (items.size() != target.tuple.size()) {
      render_error(fmt::format("{} values to unpack (expected {}, got {})",
                               items.size() < target.tuple.size() ? "not enough" : "too many", target.tuple.size(),
                               items.size()));
    }
    for (std::size_t i = 0; i < items.size(); ++i) assign(runtime, target.tuple[i], items[i], scope);
    return;
  }
  if (target.attribute.empty()) {
    scope.set(target.name, std::move(value));
    return;
  }
  const Value* object = scope.find(target.name);
  if (object == nullptr || object->type() != Type::kNamespace) {
    render_error("cannot assign attribute on non-namespace object");
  }
  auto& attributes = object->as_namespace()->attributes;
  runtime.charge(attributes.size());
  const auto at = std::find_if(attributes.begin(), attributes.end(),
                               [&](const auto& entry) { return entry.first == target.attribute; });
  if (at != attributes.end()) {
    at->second = std::move(value);
  } else {
    attributes.emplace_back(target.attribute, std::move(value));
  }
}

}  // namespace awq::templates
