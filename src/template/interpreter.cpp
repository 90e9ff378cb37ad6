#include "template/interpreter.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "template/scope.h"

namespace awq::templates {
namespace {

enum class Flow { kNext, kBreak, kContinue };

class Interpreter {
 public:
  Interpreter(const RenderLimits& limits, const std::function<std::tm()>& clock) : runtime_(limits, clock) {}

  std::string run(const Block& block, std::vector<std::pair<std::string, Value>> variables) {
    for (const char* name : global_functions()) {
      scopes_.root().set(name, runtime_.make_callable({.name = name}));
    }
    for (auto& [name, value] : variables) scopes_.root().set(name, std::move(value));
    std::string out;
    execute(block, scopes_.root(), out);
    return out;
  }

  int line() const { return line_; }

 private:
  /// Counts one level of evaluation; one step of the budget.
  class Level {
   public:
    explicit Level(Interpreter& in) : depth_(in.depth_) {
      in.runtime_.charge(1);
      if (++depth_ > in.runtime_.limits().depth) {
        --depth_;
        render_error("maximum recursion depth exceeded");
      }
    }
    ~Level() { --depth_; }

   private:
    int& depth_;
  };

  // ---- statements ----

  Flow execute(const Block& block, Scope& scope, std::string& out) {
    for (const auto& stmt : block) {
      line_ = stmt->line;
      const Flow flow = execute(*stmt, scope, out);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  void print(std::string_view text, std::string& out) {
    runtime_.charge_text(text.size());
    if (out.size() + text.size() > runtime_.limits().output_bytes) runtime_.charge_text(SIZE_MAX);
    out += text;
  }

  Flow execute(const Stmt& stmt, Scope& scope, std::string& out) {
    const Level level(*this);
    switch (stmt.kind) {
      case StmtKind::kText:
        print(stmt.text, out);
        return Flow::kNext;
      case StmtKind::kPrint: {
        const Value value = evaluate(*stmt.expr, scope);
        if (value.is_string()) {
          print(value.as_string(), out);
        } else {
          print(runtime_.text_of(value), out);
        }
        return Flow::kNext;
      }
      case StmtKind::kIf:
        for (const auto& [condition, body] : stmt.branches) {
          if (condition == nullptr || is_true(evaluate(*condition, scope))) return execute(body, scope, out);
        }
        return Flow::kNext;
      case StmtKind::kFor:
        return loop(stmt, scope, out);
      case StmtKind::kSet:
        assign(runtime_, stmt.target, evaluate(*stmt.expr, scope), scope);
        return Flow::kNext;
      case StmtKind::kBreak:
        return Flow::kBreak;
      case StmtKind::kContinue:
        return Flow::kContinue;
      case StmtKind::kMacro:
        scope.captured = true;
        scope.set(stmt.macro->name, runtime_.make_callable({.macro = stmt.macro.get(), .scope = &scope}));
        return Flow::kNext;
      default:
        return execute_scoped(stmt, scope, out);
    }
  }

  /// Statements whose body has a scope and an output of its own.
  Flow execute_scoped(const Stmt& stmt, Scope& scope, std::string& out) {
    if (stmt.kind == StmtKind::kCallBlock) {
      scope.captured = true;
      const Value caller = runtime_.make_callable({.macro = stmt.macro.get(), .scope = &scope});
      print(runtime_.text_of(call(*stmt.expr, scope, &caller)), out);
      return Flow::kNext;
    }
    Scopes::Inner inner(scopes_, scope);
    for (const auto& [target, expr] : stmt.bindings) assign(runtime_, target, evaluate(*expr, scope), *inner);
    if (stmt.kind == StmtKind::kWith || stmt.kind == StmtKind::kScope) return execute(stmt.body, *inner, out);
    std::string text;
    const Flow flow = execute(stmt.body, *inner, text);
    Value value(std::move(text));
    if (stmt.expr != nullptr) value = filter(*stmt.expr, scope, &value);
    if (stmt.kind == StmtKind::kSetBlock) {
      assign(runtime_, stmt.target, std::move(value), scope);
    } else {
      print(runtime_.text_of(value), out);
    }
    return flow;
  }

  Flow loop(const Stmt& stmt, Scope& scope, std::string& out) {
    const Value iterable = evaluate(*stmt.expr, scope);
    if (iterable.is_none() || iterable.is_number()) {
      render_error("'" + type_name(iterable) + "' object is not iterable");
    }
    std::vector<Value> items = runtime_.iterate(iterable);
    if (stmt.condition != nullptr) {
      std::vector<Value> chosen;
      for (Value& item : items) {
        Scopes::Inner inner(scopes_, scope);
        assign(runtime_, stmt.target, item, *inner);
        if (is_true(evaluate(*stmt.condition, *inner))) chosen.push_back(std::move(item));
      }
      items = std::move(chosen);
    }
    if (items.empty()) {
      Scopes::Inner inner(scopes_, scope);
      return execute(stmt.otherwise, *inner, out);
    }
    Loops::Running running(loops_, std::move(items));
    Loop& state = *running;
    for (; state.index < state.items.size(); ++state.index) {
      runtime_.charge(1);
      Scopes::Inner inner(scopes_, scope);
      inner->set("loop", Value(&state));
      assign(runtime_, stmt.target, state.items[state.index], *inner);
      if (execute(stmt.body, *inner, out) == Flow::kBreak) break;
    }
    return Flow::kNext;
  }

  // ---- expressions ----

  Value evaluate(const Expr& e, Scope& scope) {
    const Level level(*this);
    switch (e.kind) {
      case ExprKind::kConstant:
        return e.value;
      case ExprKind::kName: {
        const Value* found = scope.find(e.name);
        return found != nullptr ? *found : Value::undefined("'" + e.name + "' is undefined");
      }
      case ExprKind::kList:
      case ExprKind::kTuple:
        return Value::sequence(e.kind == ExprKind::kList ? SequenceKind::kList : SequenceKind::kTuple,
                               all(e.parts, scope));
      case ExprKind::kMap:
        return map(e, scope);
      case ExprKind::kAttribute:
        return runtime_.attribute(evaluate(*e.parts[0], scope), e.name);
      case ExprKind::kItem: {
        const Value object = evaluate(*e.parts[0], scope);
        return runtime_.item(object, evaluate(*e.parts[1], scope));
      }
      case ExprKind::kSlice:
        return slice(e, scope);
      case ExprKind::kCall:
        line_ = e.line;
        return call(e, scope, nullptr);
      case ExprKind::kFilter:
        return filter(e, scope, nullptr);
      case ExprKind::kTest: {
        const Value value = evaluate(*e.parts[0], scope);
        return apply_test(runtime_, e.name, value, arguments(e, scope));
      }
      default:
        return operation(e, scope);
    }
  }

  Value operation(const Expr& e, Scope& scope) {
    switch (e.kind) {
      case ExprKind::kNot:
        return !is_true(evaluate(*e.parts[0], scope));
      case ExprKind::kNegative:
      case ExprKind::kPositive: {
        const Value value = evaluate(*e.parts[0], scope);
        require_defined(value);
        if (!value.is_number())
          render_error("bad operand type for unary " + std::string(1, e.kind == ExprKind::kNegative ? '-' : '+') +
                       ": '" + type_name(value) + "'");
        if (e.kind == ExprKind::kPositive) return value.is_bool() ? Value(value.as_int()) : value;
        return value.is_float() ? Value(-value.as_float()) : binary(runtime_, "-", 0, value);
      }
      case ExprKind::kBinary: {
        const Value left = evaluate(*e.parts[0], scope);
        return binary(runtime_, e.name, left, evaluate(*e.parts[1], scope));
      }
      case ExprKind::kCompare: {
        Value left = evaluate(*e.parts[0], scope);
        for (std::size_t i = 0; i < e.operators.size(); ++i) {
          Value right = evaluate(*e.parts[i + 1], scope);
          if (!compare(runtime_, e.operators[i], left, right)) return false;
          left = std::move(right);
        }
        return true;
      }
      case ExprKind::kAnd:
      case ExprKind::kOr: {
        Value value;
        for (const ExprPtr& part : e.parts) {
          value = evaluate(*part, scope);
          if (is_true(value) == (e.kind == ExprKind::kOr)) break;
        }
        return value;
      }
      case ExprKind::kConcat: {
        std::string out;
        for (const ExprPtr& part : e.parts) print(runtime_.text_of(evaluate(*part, scope)), out);
        return out;
      }
      default:
        if (is_true(evaluate(*e.parts[1], scope))) return evaluate(*e.parts[0], scope);
        if (e.parts[2] != nullptr) return evaluate(*e.parts[2], scope);
        return Value::undefined("the inline if-expression evaluated to false and no else section was defined.");
    }
  }

  std::vector<Value> all(const std::vector<ExprPtr>& parts, Scope& scope) {
    std::vector<Value> out;
    out.reserve(parts.size());
    for (const ExprPtr& part : parts) out.push_back(evaluate(*part, scope));
    return out;
  }

  Value map(const Expr& e, Scope& scope) {
    std::vector<std::pair<Value, Value>> entries;
    for (std::size_t i = 0; i < e.parts.size(); i += 2) {
      Value key = evaluate(*e.parts[i], scope);
      entries.emplace_back(std::move(key), evaluate(*e.parts[i + 1], scope));
    }
    return Value::map(std::move(entries));
  }

  Value slice(const Expr& e, Scope& scope) {
    const Value object = evaluate(*e.parts[0], scope);
    std::array<Value, 3> bounds;
    for (std::size_t i = 0; i < 3; ++i) {
      if (e.parts[i + 1] != nullptr) bounds[i] = evaluate(*e.parts[i + 1], scope);
    }
    return runtime_.slice(object, bounds[0], bounds[1], bounds[2]);
  }

  CallArgs arguments(const Expr& e, Scope& scope) {
    CallArgs out;
    out.positional = all(e.positional, scope);
    if (e.star != nullptr) {
      for (Value& item : runtime_.iterate(evaluate(*e.star, scope))) out.positional.push_back(std::move(item));
    }
    for (const auto& [name, part] : e.named) out.named.emplace_back(name, evaluate(*part, scope));
    if (e.double_star != nullptr) {
      const Value more = evaluate(*e.double_star, scope);
      if (!more.is_map()) render_error("argument after ** must be a mapping, not " + type_name(more));
      runtime_.charge(more.as_map().entries.size());
      for (const auto& [key, value] : more.as_map().entries) {
        out.named.emplace_back(require_string(key, "keywords must be strings"), value);
      }
    }
    return out;
  }

  /// `input` is the operand of the innermost filter of a block, which has none in its expression.
  Value filter(const Expr& e, Scope& scope, const Value* input) {
    const Level level(*this);
    Value value;
    if (e.parts[0] == nullptr) {
      value = *input;
    } else if (e.parts[0]->kind == ExprKind::kFilter && input != nullptr) {
      value = filter(*e.parts[0], scope, input);
    } else {
      value = evaluate(*e.parts[0], scope);
    }
    return apply_filter(runtime_, e.name, value, arguments(e, scope));
  }

  Value call(const Expr& e, Scope& scope, const Value* caller) {
    const Value function = evaluate(*e.parts[0], scope);
    CallArgs args = arguments(e, scope);
    if (caller != nullptr) args.named.emplace_back("caller", *caller);
    require_defined(function);
    if (function.type() != Type::kCallable) render_error("'" + type_name(function) + "' object is not callable");
    const Callable& target = *function.as_callable();
    if (target.macro != nullptr) return call_macro(target, args);
    if (target.is_method) return call_method(runtime_, target.self, target.name, args);
    return call_global(runtime_, target.name, args);
  }

  Value call_macro(const Callable& target, CallArgs& args) {
    const Level level(*this);
    const Macro& macro = *target.macro;
    const std::size_t count = macro.parameters.size();
    Scopes::Inner inner(scopes_, *target.scope);
    std::vector<bool> given(count, false);
    for (std::size_t i = 0; i < std::min(count, args.positional.size()); ++i) {
      inner->set(macro.parameters[i], args.positional[i]);
      given[i] = true;
    }
    std::vector<std::pair<Value, Value>> extra;
    for (auto& [name, value] : args.named) {
      const auto at = std::find(macro.parameters.begin(), macro.parameters.end(), name);
      if (at == macro.parameters.end()) {
        if (name == "caller") {
          inner->set("caller", value);
        } else {
          extra.emplace_back(name, value);
        }
        continue;
      }
      const auto i = static_cast<std::size_t>(at - macro.parameters.begin());
      if (given[i]) render_error("macro '" + macro.name + "' got multiple values for argument '" + name + "'");
      given[i] = true;
      inner->set(macro.parameters[i], std::move(value));
    }
    check_surplus(macro, args, extra);
    inner->set("kwargs", Value::map(std::move(extra)));
    inner->set("varargs",
               Value::tuple(args.positional.size() > count
                                ? std::vector<Value>(args.positional.begin() + static_cast<std::ptrdiff_t>(count),
                                                     args.positional.end())
                                : std::vector<Value>()));
    const std::size_t required = count - macro.defaults.size();
    for (std::size_t i = 0; i < count; ++i) {
      if (given[i]) continue;
      inner->set(macro.parameters[i], i < required
                                          ? Value::undefined("parameter '" + macro.parameters[i] + "' was not provided")
                                          : evaluate(*macro.defaults[i - required], *inner));
    }
    std::string out;
    execute(macro.body, *inner, out);
    return out;
  }

  /// Jinja2 takes surplus arguments only in macros that read them.
  static void check_surplus(const Macro& macro, const CallArgs& args,
                            const std::vector<std::pair<Value, Value>>& extra) {
    if (args.positional.size() > macro.parameters.size() && !reads_name(macro.body, "varargs")) {
      render_error(fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, macro.parameters.size()));
    }
    if (!extra.empty() && !reads_name(macro.body, "kwargs")) {
      render_error(fmt::format("macro '{}' takes no keyword argument {}", macro.name, to_repr(extra[0].first)));
    }
  }

  Runtime runtime_;
  Scopes scopes_;
  Loops loops_;
  int depth_ = 0;
  int line_ = 0;
};

}  // namespace

std::string render(const Block& block, const std::string& name, std::vector<std::pair<std::string, Value>> variables,
                   const RenderLimits& limits, const std::function<std::tm()>& clock) {
  Interpreter interpreter(limits, clock);
  try {
    return interpreter.run(block, std::move(variables));
  } catch (Error& error) {
    error.add_note(fmt::format("{}:{}", name, interpreter.line()));
    throw;
  }
}

}  // namespace awq::templates
