#include "template/expression_parser.h"

#include <algorithm>
#include <initializer_list>

#include "base/check.h"

namespace awq::templates {
namespace {

constexpr int kMaxTreeDepth = 256;  // of what comes out: a long sum is a deep tree

std::string found(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kBlockEnd:
    case TokenKind::kVariableEnd:
      return "the end of the tag";
    default:
      return "'" + printable(token.text, 40) + "'";
  }
}

}  // namespace

const Token& ExpressionParser::peek(std::size_t ahead) const {
  return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

Token ExpressionParser::next() {
  if (at_ + 1 >= tokens_.size()) return tokens_.back();
  return std::move(tokens_[at_++]);
}

bool ExpressionParser::at_operator(std::string_view text) const {
  return peek().kind == TokenKind::kOperator && peek().text == text;
}
bool ExpressionParser::at_name(std::string_view text) const {
  return peek().kind == TokenKind::kName && peek().text == text;
}

bool ExpressionParser::skip_operator(std::string_view text) {
  if (!at_operator(text)) return false;
  next();
  return true;
}
bool ExpressionParser::skip_name(std::string_view text) {
  if (!at_name(text)) return false;
  next();
  return true;
}

void ExpressionParser::expect_operator(std::string_view text) {
  if (!skip_operator(text)) error(fmt::format("found {}, expected '{}'", found(peek()), text));
}
void ExpressionParser::expect_name(std::string_view text) {
  if (!skip_name(text)) error(fmt::format("found {}, expected '{}'", found(peek()), text));
}
std::string ExpressionParser::expect_any_name() {
  if (peek().kind != TokenKind::kName) error(fmt::format("found {}, expected a name", found(peek())));
  return next().text;
}

void ExpressionParser::error(const std::string& message) const {
  fail(ErrorCode::kCorruptFile, "{}:{}: {}", name_, peek().line, message);
}

ExprPtr ExpressionParser::make(ExprKind kind, int line) const {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = line;
  return node;
}

/// Sets the depth of a node whose parts are complete.
ExprPtr ExpressionParser::checked(ExprPtr node) const {
  int below = 0;
  const auto look = [&](const ExprPtr& part) {
    if (part) below = std::max(below, part->depth);
  };
  for (const ExprPtr& part : node->parts) look(part);
  for (const ExprPtr& part : node->positional) look(part);
  for (const auto& [name, part] : node->named) look(part);
  look(node->star);
  look(node->double_star);
  node->depth = below + 1;
  if (node->depth > kMaxTreeDepth) error("expression too long: more than 256 operations within each other");
  return node;
}

ExprPtr ExpressionParser::expression(bool with_conditional) {
  const Nested nested(*this);
  ExprPtr left = either();
  while (with_conditional && at_name("if")) {
    ExprPtr node = make(ExprKind::kConditional, next().line);
    node->parts.push_back(std::move(left));
    node->parts.push_back(either());
    node->parts.push_back(skip_name("else") ? expression() : nullptr);
    left = checked(std::move(node));
  }
  return left;
}

ExprPtr ExpressionParser::either() {
  ExprPtr left = both();
  if (!at_name("or")) return left;
  ExprPtr node = make(ExprKind::kOr, peek().line);
  node->parts.push_back(std::move(left));
  while (skip_name("or")) node->parts.push_back(both());
  return checked(std::move(node));
}

ExprPtr ExpressionParser::both() {
  ExprPtr left = negation();
  if (!at_name("and")) return left;
  ExprPtr node = make(ExprKind::kAnd, peek().line);
  node->parts.push_back(std::move(left));
  while (skip_name("and")) node->parts.push_back(negation());
  return checked(std::move(node));
}

ExprPtr ExpressionParser::negation() {
  if (!at_name("not")) return comparison();
  const Nested nested(*this);
  ExprPtr node = make(ExprKind::kNot, next().line);
  node->parts.push_back(negation());
  return checked(std::move(node));
}

ExprPtr ExpressionParser::comparison() {
  ExprPtr left = sum();
  ExprPtr node;
  while (true) {
    std::string op;
    for (const char* candidate : {"==", "!=", "<", "<=", ">", ">="}) {
      if (at_operator(candidate)) op = candidate;
    }
    if (at_name("in")) op = "in";
    if (at_name("not") && peek(1).kind == TokenKind::kName && peek(1).text == "in") op = "not in";
    if (op.empty()) break;
    if (!node) {
      node = make(ExprKind::kCompare, peek().line);
      node->parts.push_back(std::move(left));
    }
    next();
    if (op == "not in") next();
    node->operators.push_back(op);
    node->parts.push_back(sum());
  }
  return node ? checked(std::move(node)) : std::move(left);
}

ExprPtr ExpressionParser::sum() {
  ExprPtr left = concatenation();
  while (at_operator("+") || at_operator("-")) {
    ExprPtr node = make(ExprKind::kBinary, peek().line);
    node->name = next().text;
    node->parts.push_back(std::move(left));
    node->parts.push_back(concatenation());
    left = checked(std::move(node));
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  ExprPtr left = product();
  if (!at_operator("~")) return left;
  ExprPtr node = make(ExprKind::kConcat, peek().line);
  node->parts.push_back(std::move(left));
  while (skip_operator("~")) node->parts.push_back(product());
  return checked(std::move(node));
}

ExprPtr ExpressionParser::product() {
  ExprPtr left = power();
  while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
    ExprPtr node = make(ExprKind::kBinary, peek().line);
    node->name = next().text;
    node->parts.push_back(std::move(left));
    node->parts.push_back(power());
    left = checked(std::move(node));
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  ExprPtr left = unary();
  while (at_operator("**")) {
    ExprPtr node = make(ExprKind::kBinary, peek().line);
    node->name = next().text;
    node->parts.push_back(std::move(left));
    node->parts.push_back(unary());
    left = checked(std::move(node));
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filter) {
  ExprPtr node;
  if (at_operator("-") || at_operator("+")) {
    const Nested nested(*this);
    node = make(at_operator("-") ? ExprKind::kNegative : ExprKind::kPositive, peek().line);
    next();
    node->parts.push_back(unary(false));
    node = checked(std::move(node));
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filter ? filters_and_tests(std::move(node)) : std::move(node);
}

ExprPtr ExpressionParser::primary() {
  const Token token = peek();
  const auto constant = [&](Value value) {
    ExprPtr node = make(ExprKind::kConstant, token.line);
    node->value = std::move(value);
    return node;
  };
  switch (token.kind) {
    case TokenKind::kName: {
      next();
      if (token.text == "true" || token.text == "True") return constant(true);
      if (token.text == "false" || token.text == "False") return constant(false);
      if (token.text == "none" || token.text == "None") return constant({});
      ExprPtr node = make(ExprKind::kName, token.line);
      node->name = token.text;
      return node;
    }
    case TokenKind::kString: {
      std::string text;
      while (peek().kind == TokenKind::kString) text += next().text;
      return constant(std::move(text));
    }
    case TokenKind::kInteger:
      next();
      return constant(token.integer);
    case TokenKind::kFloat:
      next();
      return constant(token.number);
    case TokenKind::kOperator:
      break;
    default:
      error(fmt::format("found {}, expected an expression", found(token)));
  }
  const Nested nested(*this);
  if (skip_operator("(")) {
    ExprPtr node = tuple(true, {}, true);
    expect_operator(")");
    return node;
  }
  if (skip_operator("[")) {
    ExprPtr node = make(ExprKind::kList, token.line);
    while (!at_operator("]")) {
      if (!node->parts.empty()) expect_operator(",");
      if (at_operator("]")) break;
      node->parts.push_back(expression());
    }
    expect_operator("]");
    return checked(std::move(node));
  }
  if (at_operator("{")) return map();
  error(fmt::format("found {}, expected an expression", found(token)));
}

ExprPtr ExpressionParser::map() {
  ExprPtr node = make(ExprKind::kMap, next().line);
  while (!at_operator("}")) {
    if (!node->parts.empty()) expect_operator(",");
    if (at_operator("}")) break;
    node->parts.push_back(expression());
    expect_operator(":");
    node->parts.push_back(expression());
  }
  expect_operator("}");
  return checked(std::move(node));
}

ExprPtr ExpressionParser::tuple(bool with_conditional, std::string_view end_word, bool parenthesized) {
  const int line = peek().line;
  const auto at_end = [&] {
    const TokenKind kind = peek().kind;
    return kind == TokenKind::kBlockEnd || kind == TokenKind::kVariableEnd || at_operator(")") ||
           (!end_word.empty() && at_name(end_word));
  };
  std::vector<ExprPtr> parts;
  bool is_tuple = false;
  while (!at_end()) {
    parts.push_back(expression(with_conditional));
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !parts.empty()) return std::move(parts.front());
  if (parts.empty() && !parenthesized) error(fmt::format("found {}, expected an expression", found(peek())));
  ExprPtr node = make(ExprKind::kTuple, line);
  node->parts = std::move(parts);
  return checked(std::move(node));
}

}  // namespace awq::templates
