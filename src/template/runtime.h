#pragma once

#include <cstdint>
#include <ctime>
#include <deque>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "awq/error.h"
#include "template/ast.h"
#include "template/value.h"

namespace awq::templates {

/// What one render may use. A template comes from a model folder, and what it works on from a client.
struct RenderLimits {
  std::uint64_t steps = 20'000'000;      ///< nodes visited, values walked, 8-byte pieces of text made
  std::size_t output_bytes = 32U << 20;  ///< of the result and of any text on the way
  std::int64_t range_length = 100'000;   ///< Jinja2's own limit
  int depth = 600;                       ///< of evaluation: expressions, blocks and macro calls within each other
};

/// RenderLimits::steps are spent: the conversation is too much work. Others can ask for it with more steps.
class StepsSpent : public Error {
 public:
  using Error::Error;
};

/// RenderLimits::output_bytes are not enough. Others can ask for it with more.
class TextTooLong : public Error {
 public:
  using Error::Error;
};

struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Arguments of a filter, test or method in the order of `parameters`; null where none was given. Throws for too many
/// arguments, for an unknown keyword and for one given twice.
std::vector<const Value*> bind(std::string_view function, const CallArgs& args,
                               std::initializer_list<std::string_view> parameters);

/// Something that can be called: a macro with the scope it was made in, a global function, or a method of a value.
struct Scope;
struct Callable {
  const Macro* macro = nullptr;
  Scope* scope = nullptr;
  Value self{};
  std::string name{};  ///< of a global function or a method
  bool is_method = false;
};

struct Loop {
  std::vector<Value> items;
  std::size_t index = 0;
  int depth = 1;
  std::vector<Value> last_changed;
  bool has_changed = false;
};

/// What filters, tests and methods share: the budget, the clock, and the owner of everything with an identity.
class Runtime {
 public:
  Runtime(const RenderLimits& limits, std::function<std::tm()> clock) : limits_(limits), clock_(std::move(clock)) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Pays for work before it is done; throws StepsSpent (kInvalidArgument) when the budget is spent.
  void charge(std::uint64_t steps);
  /// Pays for `bytes` of text about to be made.
  void charge_text(std::size_t bytes);
  const RenderLimits& limits() const { return limits_; }
  std::tm now() const;

  Value make_callable(Callable callable);
  Value make_namespace(std::vector<std::pair<std::string, Value>> attributes);

  /// value.name and value[key], as the sandbox of Jinja2 resolves them. A miss is undefined, not an error.
  Value attribute(const Value& value, const std::string& name);
  Value item(const Value& value, const Value& key);
  Value slice(const Value& value, const Value& start, const Value& stop, const Value& step);
  /// The values that a `for` over `value` gives. Throws for what cannot be iterated.
  std::vector<Value> iterate(const Value& value);
  std::int64_t length(const Value& value);
  /// str(value) with its cost paid: a value can print much larger than it is.
  std::string text_of(const Value& value);

 private:
  Value slice_text(const std::string& text, const Value& start, const Value& stop, const Value& step);
  Value loop_attribute(Loop& loop, const std::string& name, const Value& self);

  RenderLimits limits_;
  std::function<std::tm()> clock_;
  std::uint64_t used_ = 0;
  std::deque<Namespace> namespaces_;
  std::deque<Callable> callables_;
};

/// True when `type_name(value)` has a method of this name; `blocked` says whether the sandbox withholds it because it
/// would change the value.
bool has_method(const Value& value, std::string_view name, bool& blocked);
/// The functions that every template sees, and calls of them by name. raise_exception throws TemplateRefusal.
std::span<const char* const> global_functions();
Value call_global(Runtime& runtime, const std::string& name, const CallArgs& args);
Value call_method(Runtime& runtime, const Value& self, const std::string& name, const CallArgs& args);
Value apply_filter(Runtime& runtime, const std::string& name, const Value& input, const CallArgs& args);
bool apply_test(Runtime& runtime, const std::string& name, const Value& input, const CallArgs& args);
/// +, -, *, /, //, %, ** of Python.
Value binary(Runtime& runtime, const std::string& op, const Value& a, const Value& b);
/// ==, !=, <, <=, >, >=, in, not in.
bool compare(Runtime& runtime, const std::string& op, const Value& a, const Value& b);
/// str.format(), and the % operator of str.
std::string format_braces(Runtime& runtime, const std::string& format, const CallArgs& args);
std::string format_percent(Runtime& runtime, const std::string& format, const Value& values);

/// Throws when the value is undefined: most operations on it are errors.
void require_defined(const Value& value);
std::int64_t require_int(const Value& value, std::string_view what);
const std::string& require_string(const Value& value, std::string_view what);

// Text helpers shared by methods and filters; all work on code points.
std::int64_t count_scalars(std::string_view text);
std::string lowered(std::string_view text);
std::string uppered(std::string_view text);
std::string capitalized(std::string_view text);
std::string titled(std::string_view text);
std::string_view stripped(std::string_view text, const std::string* chars, bool left, bool right);
std::string replaced(Runtime& runtime, std::string_view text, std::string_view from, std::string_view to,
                     std::int64_t count);

}  // namespace awq::templates
