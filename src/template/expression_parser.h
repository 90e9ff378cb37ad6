#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "template/ast.h"
#include "template/lexer.h"

namespace awq::templates {

/// The tokens of one template, and the grammar of expressions. Nesting is bounded: by the depth of calls while
/// parsing and by the depth of the tree that comes out, so that walking and destroying it needs no more stack.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

  const Token& peek(std::size_t ahead = 0) const;
  Token next();
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view text);
  void expect_operator(std::string_view text);
  void expect_name(std::string_view text);
  std::string expect_any_name();
  /// Throws kCorruptFile with the line of the current token.
  [[noreturn]] void error(const std::string& message) const;

  ExprPtr expression(bool with_conditional = true);
  /// An expression, or several with commas between them as a tuple. Ends before the name `end_word`, if given.
  ExprPtr tuple(bool with_conditional, std::string_view end_word = {}, bool parenthesized = false);
  /// What follows `name` of a filter or call block: filters joined by bars, with null as their first operand.
  ExprPtr filter_chain();
  ExprPtr unary(bool with_filter = true);
  Target target(bool with_attribute, std::string_view end_word = {});

 private:
  static constexpr int kMaxNesting = 64;  // brackets and operators within each other

  /// Counts one level of nesting for as long as it lives.
  class Nested {
   public:
    explicit Nested(ExpressionParser& parser) : parser_(parser) {
      if (++parser_.nesting_ > kMaxNesting) parser_.error("expression nested too deeply");
    }
    ~Nested() { --parser_.nesting_; }

   private:
    ExpressionParser& parser_;
  };

  ExprPtr make(ExprKind kind, int line) const;
  ExprPtr checked(ExprPtr node) const;
  ExprPtr either();
  ExprPtr both();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr primary();
  ExprPtr map();
  ExprPtr postfix(ExprPtr node);
  ExprPtr filters_and_tests(ExprPtr node);
  ExprPtr subscript(ExprPtr node);
  ExprPtr filter(ExprPtr node);
  ExprPtr test(ExprPtr node);
  void arguments(Expr& node);
  Target single_target(bool with_attribute);

  std::vector<Token> tokens_;
  const std::string& name_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace awq::templates
