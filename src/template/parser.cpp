#include "template/parser.h"

#include <algorithm>
#include <initializer_list>

#include "base/check.h"
#include "template/expression_parser.h"

namespace awq::templates {
namespace {

constexpr int kMaxBlockDepth = 64;

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& name) : in_(std::move(tokens), name), name_(name) {}

  Block run() {
    Block out = body({});
    if (in_.peek().kind != TokenKind::kEnd) in_.error("unexpected '" + in_.peek().text + "' tag");
    return out;
  }

 private:
  using Words = std::initializer_list<std::string_view>;

  /// Statements up to a tag that begins with one of `ends`; that tag's name is the current token then.
  Block body(Words ends) {
    if (++depth_ > kMaxBlockDepth) in_.error("blocks nested deeper than 64 levels");
    Block out;
    while (in_.peek().kind != TokenKind::kEnd) {
      const Token token = in_.next();
      auto stmt = std::make_unique<Stmt>();
      stmt->line = token.line;
      if (token.kind == TokenKind::kData) {
        stmt->text = token.text;
      } else if (token.kind == TokenKind::kVariableBegin) {
        stmt->kind = StmtKind::kPrint;
        stmt->expr = in_.tuple(true);
        expect(TokenKind::kVariableEnd);
      } else {
        if (std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return in_.at_name(end); })) {
          --depth_;
          return out;
        }
        statement(*stmt);
      }
      out.push_back(std::move(stmt));
    }
    if (ends.size() != 0) in_.error(fmt::format("the template ends before {{% {} %}}", *(ends.end() - 1)));
    --depth_;
    return out;
  }

  void expect(TokenKind kind) {
    if (in_.peek().kind != kind)
      in_.error("unexpected '" + printable(in_.peek().text, 40) + "', expected the end of the tag");
    in_.next();
  }

  /// The body of a block and its end tag.
  Block body_and_end(std::string_view end) {
    expect(TokenKind::kBlockEnd);
    Block out = body({end});
    in_.expect_name(end);
    // {% endmacro name %} and the like may repeat the name.
    if (in_.peek().kind == TokenKind::kName) in_.next();
    expect(TokenKind::kBlockEnd);
    return out;
  }

  void statement(Stmt& out) {
    const std::string word = in_.expect_any_name();
    if (word == "if") return parse_if(out);
    if (word == "for") return parse_for(out);
    if (word == "set") return parse_set(out);
    if (word == "macro") return parse_macro(out);
    if (word == "call") return parse_call(out);
    if (word == "filter") {
      out.kind = StmtKind::kFilterBlock;
      out.expr = in_.filter_chain();
      out.body = body_and_end("endfilter");
      return;
    }
    if (word == "with") return parse_with(out);
    if (word == "generation") {
      out.kind = StmtKind::kScope;
      out.body = body_and_end("endgeneration");
      return;
    }
    if (word == "break" || word == "continue") {
      if (loops_ == 0) in_.error("'" + word + "' outside of a loop");
      out.kind = word == "break" ? StmtKind::kBreak : StmtKind::kContinue;
      return expect(TokenKind::kBlockEnd);
    }
    for (const char* other : {"include", "import", "from", "extends", "block", "autoescape", "do", "trans"}) {
      if (word == other) {
        fail(ErrorCode::kUnsupported, "{}:{}: {{% {} %}} is not supported in a chat template", name_, out.line, word);
      }
    }
    in_.error("unknown tag '" + printable(word, 40) + "'");
  }

  void parse_if(Stmt& out) {
    out.kind = StmtKind::kIf;
    ExprPtr condition = in_.tuple(false);
    while (true) {
      expect(TokenKind::kBlockEnd);
      Block then = body({"elif", "else", "endif"});
      const bool was_else = condition == nullptr;
      out.branches.emplace_back(std::move(condition), std::move(then));
      if (in_.skip_name("endif")) break;
      if (was_else) in_.error("unexpected '" + in_.peek().text + "' after else");
      condition = in_.skip_name("elif") ? in_.tuple(false) : nullptr;
      if (condition == nullptr) in_.expect_name("else");
    }
    expect(TokenKind::kBlockEnd);
  }

  void parse_for(Stmt& out) {
    out.kind = StmtKind::kFor;
    out.target = in_.target(false, "in");
    in_.expect_name("in");
    out.expr = in_.tuple(false, "recursive");
    if (in_.skip_name("if")) out.condition = in_.expression();
    if (in_.at_name("recursive")) {
      fail(ErrorCode::kUnsupported, "{}:{}: recursive loops are not supported", name_, out.line);
    }
    expect(TokenKind::kBlockEnd);
    ++loops_;
    out.body = body({"else", "endfor"});
    --loops_;
    if (in_.skip_name("else")) {
      expect(TokenKind::kBlockEnd);
      out.otherwise = body({"endfor"});
    }
    in_.expect_name("endfor");
    expect(TokenKind::kBlockEnd);
  }

  void parse_set(Stmt& out) {
    out.target = in_.target(true);
    if (in_.skip_operator("=")) {
      out.kind = StmtKind::kSet;
      out.expr = in_.tuple(true);
      return expect(TokenKind::kBlockEnd);
    }
    out.kind = StmtKind::kSetBlock;
    if (in_.skip_operator("|")) out.expr = in_.filter_chain();
    out.body = body_and_end("endset");
  }

  std::unique_ptr<Macro> signature() {
    auto macro = std::make_unique<Macro>();
    in_.expect_operator("(");
    while (!in_.at_operator(")")) {
      if (!macro->parameters.empty()) in_.expect_operator(",");
      if (in_.at_operator(")")) break;
      macro->parameters.push_back(in_.expect_any_name());
      const auto& names = macro->parameters;
      if (std::count(names.begin(), names.end(), names.back()) > 1) in_.error("parameter named twice");
      if (names.size() > 64) in_.error("more than 64 parameters");
      if (in_.skip_operator("=")) {
        macro->defaults.push_back(in_.expression());
      } else if (!macro->defaults.empty()) {
        in_.error("parameter without a default after one with a default");
      }
    }
    in_.expect_operator(")");
    return macro;
  }

  /// break and continue do not reach through a macro.
  Block macro_body(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Block out = body_and_end(end);
    loops_ = loops;
    return out;
  }

  void parse_macro(Stmt& out) {
    out.kind = StmtKind::kMacro;
    std::string name = in_.expect_any_name();
    out.macro = signature();
    out.macro->name = std::move(name);
    out.macro->body = macro_body("endmacro");
  }

  void parse_call(Stmt& out) {
    out.kind = StmtKind::kCallBlock;
    out.macro = in_.at_operator("(") ? signature() : std::make_unique<Macro>();
    out.macro->name = "caller";
    out.expr = in_.expression();
    if (out.expr->kind != ExprKind::kCall) in_.error("expected a call");
    out.macro->body = macro_body("endcall");
  }

  void parse_with(Stmt& out) {
    out.kind = StmtKind::kWith;
    while (in_.peek().kind != TokenKind::kBlockEnd) {
      if (!out.bindings.empty()) in_.expect_operator(",");
      Target target = in_.target(false);
      in_.expect_operator("=");
      out.bindings.emplace_back(std::move(target), in_.expression());
    }
    out.body = body_and_end("endwith");
  }

  ExpressionParser in_;
  const std::string& name_;
  int depth_ = 0;
  int loops_ = 0;
};

}  // namespace

Block parse(std::string_view source, const std::string& name) { return Parser(tokenize(source, name), name).run(); }

}  // namespace awq::templates
