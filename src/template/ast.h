#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "template/value.h"

namespace awq::templates {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  kConstant,     ///< value
  kName,         ///< name
  kList,         ///< parts
  kTuple,        ///< parts
  kMap,          ///< parts: key, value, key, value ...
  kAttribute,    ///< parts[0].name
  kItem,         ///< parts[0][parts[1]]
  kSlice,        ///< parts[0][parts[1]:parts[2]:parts[3]]; a part may be null
  kCall,         ///< parts[0](arguments)
  kFilter,       ///< parts[0] | name(arguments); parts[0] is null in a filter block
  kTest,         ///< parts[0] is name(arguments)
  kNot,          ///< parts[0]
  kNegative,     ///< parts[0]
  kPositive,     ///< parts[0]
  kBinary,       ///< parts[0] name parts[1]; name is one of + - * / // % **
  kCompare,      ///< parts[0] operators[0] parts[1] operators[1] parts[2] ...
  kAnd,          ///< parts
  kOr,           ///< parts
  kConcat,       ///< parts, joined by ~
  kConditional,  ///< parts[0] if parts[1] else parts[2]; parts[2] may be null
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  int line = 0;
  int depth = 1;  ///< of the tree below; bounded by the parser
  std::string name;
  Value value;
  std::vector<ExprPtr> parts;
  std::vector<std::string> operators;
  // Arguments of calls, filters and tests.
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         ///< *star
  ExprPtr double_star;  ///< **double_star
};

/// What `set` and `for` write to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;      ///< not empty: name.attribute
  std::vector<Target> tuple;  ///< not empty: unpack into these
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

enum class StmtKind {
  kText,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kScope,
  kBreak,
  kContinue
};

struct Macro {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  ///< of the last parameters
  Block body;
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  int line = 0;
  std::string text;                                 ///< kText
  ExprPtr expr;                                     ///< what is printed, iterated, assigned, called or filtered by
  std::vector<std::pair<ExprPtr, Block>> branches;  ///< kIf: condition (null: else) and body
  Target target;                                    ///< kFor, kSet, kSetBlock
  ExprPtr condition;                                ///< kFor: `if` of the loop
  Block body;
  Block otherwise;                                   ///< kFor: else
  std::vector<std::pair<Target, ExprPtr>> bindings;  ///< kWith
  std::unique_ptr<Macro> macro;                      ///< kMacro; kCallBlock: the caller
};

}  // namespace awq::templates
