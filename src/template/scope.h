#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "template/ast.h"
#include "template/runtime.h"
#include "template/value.h"

namespace awq::templates {

/// Variables of a block, and the block around it.
struct Scope {
  Scope* parent = nullptr;
  bool captured = false;                                      ///< a macro was made here, which can outlive the block
  std::vector<std::pair<std::string_view, Value>> variables;  ///< names lie in the template or with the caller

  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
      for (const auto& [key, value] : scope->variables) {
        if (key == name) return &value;
      }
    }
    return nullptr;
  }

  /// `name` must live as long as the scope.
  void set(std::string_view name, Value value) {
    for (auto& [key, old] : variables) {
      if (key == name) {
        old = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }
};

/// Owns the scopes of a render. Those that a macro captured stay to the end, the others are used again.
class Scopes {
 public:
  Scope& root() { return root_; }

  /// A scope within another, for as long as this object lives.
  class Inner {
   public:
    Inner(Scopes& scopes, Scope& parent) : scopes_(scopes) {
      if (scopes_.free_.empty()) {
        scopes_.all_.emplace_back();
        scopes_.free_.push_back(&scopes_.all_.back());
      }
      scope_ = scopes_.free_.back();
      scopes_.free_.pop_back();
      scope_->parent = &parent;
    }
    ~Inner() {
      if (scope_->captured) {
        // What a kept scope stands in must stay as well.
        if (scope_->parent != nullptr) scope_->parent->captured = true;
        return;
      }
      scope_->variables.clear();
      scopes_.free_.push_back(scope_);
    }
    Inner(const Inner&) = delete;
    Inner& operator=(const Inner&) = delete;
    Scope& operator*() { return *scope_; }
    Scope* operator->() { return scope_; }

   private:
    Scopes& scopes_;
    Scope* scope_ = nullptr;
  };

 private:
  Scope root_;
  std::deque<Scope> all_;
  std::vector<Scope*> free_;
};

/// Owns the states of loops. A state stays valid after its loop, because a template can keep `loop`, and is then used
/// again.
class Loops {
 public:
  /// The state of a loop while it runs.
  class Running {
   public:
    Running(Loops& loops, std::vector<Value> items) : loops_(loops), state_(loops.take()) {
      state_.items = std::move(items);
      state_.depth = ++loops_.depth_;
    }
    ~Running() {
      --loops_.depth_;
      state_ = {};
      loops_.free_.push_back(&state_);
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    Loop& operator*() { return state_; }

   private:
    Loops& loops_;
    Loop& state_;
  };

 private:
  Loop& take() {
    if (free_.empty()) return all_.emplace_back();
    Loop& out = *free_.back();
    free_.pop_back();
    return out;
  }

  std::deque<Loop> all_;
  std::vector<Loop*> free_;
  int depth_ = 0;
};

/// Sets the variables that a target names, or the attribute of a namespace.
void assign(Runtime& runtime, const Target& target, Value value, Scope& scope);
/// True when an expression in the block reads this name.
bool reads_name(const Block& block, std::string_view name);
/// Calls `visit` with every expression of the block, outermost first.
void visit_expressions(const Block& block, const std::function<void(const Expr&)>& visit);

}  // namespace awq::templates
