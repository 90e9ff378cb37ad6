#include "template/expression_parser.h"

#include <algorithm>
#include <initializer_list>

#include "base/check.h"

namespace awq::templates {
namespace {

constexpr int kMaxNesting = 64;     // brackets and operators within each other, while parsing
constexpr int kMaxTreeDepth = 256;  // of what comes out: a long sum is a deep tree
constexpr std::size_t kMaxArguments = 255;

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

/// Counts one level of nesting for as long as it lives.
class ExpressionParser::Nested {
 public:
  explicit Nested(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.nesting_ > kMaxNesting) parser_.error("expression nested too deeply");
  }
  ~Nested() { --parser_.nesting_; }

 private:
  ExpressionParser& parser_;
};

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
