// The part of ExpressionParser behind an operand: attributes, items, calls, filters and tests; and targets of
// assignments.

#include "base/check.h"
#include "template/expression_parser.h"

namespace awq::templates {
namespace {

constexpr std::size_t kMaxArguments = 255;

}  // namespace

ExprPtr ExpressionParser::postfix(ExprPtr node) {
  while (true) {
    const int line = peek().line;
    if (skip_operator(".")) {
      if (peek().kind == TokenKind::kInteger) {
        ExprPtr index = make(ExprKind::kConstant, line);
        index->value = next().integer;
        ExprPtr item = make(ExprKind::kItem, line);
        item->parts.push_back(std::move(node));
        item->parts.push_back(std::move(index));
        node = checked(std::move(item));
        continue;
      }
      ExprPtr attribute = make(ExprKind::kAttribute, line);
      attribute->name = expect_any_name();
      attribute->parts.push_back(std::move(node));
      node = checked(std::move(attribute));
    } else if (at_operator("[")) {
      node = subscript(std::move(node));
    } else if (at_operator("(")) {
      ExprPtr call = make(ExprKind::kCall, line);
      call->parts.push_back(std::move(node));
      arguments(*call);
      node = checked(std::move(call));
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr node) {
  const Nested nested(*this);
  const int line = next().line;
  std::vector<ExprPtr> bounds;
  bool is_slice = false;
  const auto bound = [&] { return at_operator(":") || at_operator("]") ? nullptr : expression(); };
  bounds.push_back(bound());
  while (bounds.size() < 3 && skip_operator(":")) {
    is_slice = true;
    bounds.push_back(bound());
  }
  if (!is_slice && bounds[0] == nullptr) error("found ']', expected an index");
  expect_operator("]");
  ExprPtr out = make(is_slice ? ExprKind::kSlice : ExprKind::kItem, line);
  if (is_slice) bounds.resize(3);
  out->parts.push_back(std::move(node));
  for (ExprPtr& part : bounds) out->parts.push_back(std::move(part));
  return checked(std::move(out));
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr node) {
  while (true) {
    if (at_operator("|")) {
      node = filter(std::move(node));
    } else if (at_name("is")) {
      node = test(std::move(node));
    } else if (at_operator("(")) {
      node = postfix(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr ExpressionParser::filter_chain() {
  ExprPtr node = make(ExprKind::kFilter, peek().line);
  node->name = expect_any_name();
  node->parts.push_back(nullptr);
  if (at_operator("(")) arguments(*node);
  node = checked(std::move(node));
  while (at_operator("|")) node = filter(std::move(node));
  return node;
}

ExprPtr ExpressionParser::filter(ExprPtr node) {
  ExprPtr out = make(ExprKind::kFilter, next().line);
  out->name = expect_any_name();
  while (skip_operator(".")) out->name += "." + expect_any_name();
  out->parts.push_back(std::move(node));
  if (at_operator("(")) arguments(*out);
  return checked(std::move(out));
}

ExprPtr ExpressionParser::test(ExprPtr node) {
  const int line = next().line;
  const bool negated = skip_name("not");
  ExprPtr out = make(ExprKind::kTest, line);
  out->name = expect_any_name();
  out->parts.push_back(std::move(node));
  const TokenKind kind = peek().kind;
  const bool literal = kind == TokenKind::kString || kind == TokenKind::kInteger || kind == TokenKind::kFloat;
  const bool name = kind == TokenKind::kName && !at_name("else") && !at_name("or") && !at_name("and") && !at_name("if");
  if (at_operator("(")) {
    arguments(*out);
  } else if (literal || name || at_operator("[") || at_operator("{")) {
    if (at_name("is")) error("tests cannot follow one another");
    // `x is divisibleby 3 in y`, `... not in y`: a comparison goes on.
    if (!at_name("in") && !at_name("not")) {
      const Nested nested(*this);
      out->positional.push_back(postfix(primary()));
    }
  }
  out = checked(std::move(out));
  if (!negated) return out;
  ExprPtr inverse = make(ExprKind::kNot, line);
  inverse->parts.push_back(std::move(out));
  return checked(std::move(inverse));
}

void ExpressionParser::arguments(Expr& node) {
  const Nested nested(*this);
  expect_operator("(");
  bool first = true;
  while (!at_operator(")")) {
    if (!first) expect_operator(",");
    first = false;
    if (at_operator(")")) break;
    if (node.positional.size() + node.named.size() >= kMaxArguments) error("more than 255 arguments");
    if (skip_operator("**")) {
      if (node.double_star) error("a second ** argument");
      node.double_star = expression();
    } else if (skip_operator("*")) {
      if (node.star || node.double_star) error("misplaced * argument");
      node.star = expression();
    } else if (peek().kind == TokenKind::kName && peek(1).kind == TokenKind::kOperator && peek(1).text == "=") {
      if (node.double_star) error("a keyword argument after **");
      std::string name = next().text;
      next();
      node.named.emplace_back(std::move(name), expression());
    } else {
      if (node.star || node.double_star || !node.named.empty()) error("a positional argument after a keyword argument");
      node.positional.push_back(expression());
    }
  }
  expect_operator(")");
}

Target ExpressionParser::single_target(bool with_attribute) {
  if (skip_operator("(")) {
    const Nested nested(*this);
    Target inner = target(with_attribute);
    expect_operator(")");
    return inner;
  }
  Target out;
  out.name = expect_any_name();
  for (const char* reserved : {"true", "false", "none", "True", "False", "None"}) {
    if (out.name == reserved) error("cannot assign to '" + out.name + "'");
  }
  if (with_attribute && skip_operator(".")) out.attribute = expect_any_name();
  return out;
}

Target ExpressionParser::target(bool with_attribute, std::string_view end_word) {
  Target first = single_target(with_attribute);
  if (!at_operator(",")) return first;
  Target out;
  out.tuple.push_back(std::move(first));
  while (skip_operator(",")) {
    if (at_operator(")") || at_operator("=") || (!end_word.empty() && at_name(end_word))) break;
    out.tuple.push_back(single_target(with_attribute));
  }
  return out;
}

}  // namespace awq::templates
