#include "template/scope.h"

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

}  // namespace awq::templates
