#include "server/openai/output_parsers.h"

#include <utility>

#include "base/check.h"
#include "chat/output_parser.h"
#include "server/openai/bodies.h"
#include "server/service.h"

namespace awq::server {
namespace {

constexpr int kMaxCallDepth = 64;

std::string call_id(int) { return random_id("call_"); }

/// Calls and reasoning in the model's own format.
class ModelFormat final : public OutputParser {
 public:
  explicit ModelFormat(const ParserOptions& o)
      : include_reasoning_(o.include_reasoning),
        parallel_(o.parallel_calls),
        parser_({.tools = o.tools,
                 .reasoning = o.reasoning,
                 .in_reasoning = o.reasoning && o.inside_reasoning,
                 .tool_names = o.tool_names,
                 .tool_list = o.tool_list,
                 .enforced = o.enforced,
                 .make_id = call_id}) {}

  void push(const std::string& text, ParsedText& out) override { take(parser_.push(text), out); }
  void finish(ParsedText& out) override { take(parser_.finish(), out); }

 private:
  void take(std::vector<chat::ChatDelta> deltas, ParsedText& out) {
    using Kind = chat::ChatDelta::Kind;
    for (chat::ChatDelta& delta : deltas) {
      if (delta.kind == Kind::kContent) out.content += delta.text;
      if (delta.kind == Kind::kReasoning && include_reasoning_) out.reasoning += delta.text;
      if (delta.kind != Kind::kToolStart && delta.kind != Kind::kToolArguments) continue;
      if (delta.index > 0 && !parallel_) continue;
      if (!out.tool_calls.empty() && out.tool_calls.back().index == delta.index && delta.kind == Kind::kToolArguments) {
        out.tool_calls.back().arguments += delta.text;
      } else {
        out.tool_calls.push_back({delta.index, std::move(delta.id), std::move(delta.name), std::move(delta.text)});
      }
    }
  }

  bool include_reasoning_, parallel_;
  chat::OutputParser parser_;
};

/// All text is arguments of one call, told as it comes.
class Arguments final : public OutputParser {
 public:
  explicit Arguments(std::string name) : name_(std::move(name)) {}

  void push(const std::string& text, ParsedText& out) override {
    if (text.empty()) return;
    if (!std::exchange(begun_, true)) {
      out.tool_calls.push_back({0, call_id(0), name_, text});
    } else {
      out.tool_calls.push_back({0, "", "", text});
    }
  }
  void finish(ParsedText&) override {}

 private:
  std::string name_;
  bool begun_ = false;
};

/// The whole answer is a list of calls, known at its end. One that was cut off is content.
class CallList final : public OutputParser {
 public:
  void push(const std::string& text, ParsedText&) override { held_ += text; }
  void finish(ParsedText& out) override {
    OrderedJson list;
    try {
      list = file::parse_json<OrderedJson>(held_, "calls", {.max_depth = kMaxCallDepth});
    } catch (const Error&) {
    }
    if (!list.is_array()) {
      out.content += held_;
      return;
    }
    std::int64_t index = 0;
    for (const OrderedJson& call : list) {
      const auto name = call.find("name");
      if (!call.is_object() || name == call.end() || !name->is_string()) continue;
      const auto arguments = call.find("parameters");
      const OrderedJson given = arguments == call.end() ? OrderedJson::object() : *arguments;
      out.tool_calls.push_back({index++, call_id(0), name->get<std::string>(), to_line(given)});
    }
  }

 private:
  std::string held_;
};

}  // namespace

chat::ToolFormat tool_format(const std::string& name, const std::string& template_source) {
  if (name == "auto") return chat::detect_tool_format(template_source);
  std::string known = "auto";
  for (const chat::ToolFormat format : chat::tool_formats()) {
    if (name == chat::tool_format_name(format)) return format;
    known += std::string(", ") + chat::tool_format_name(format);
  }
  fail(ErrorCode::kInvalidArgument, "--tool-call-parser {}: expected one of {}", printable(name), known);
}

std::unique_ptr<OutputParser> make_output_parser(const ParserOptions& o) {
  if (o.answer == ParserOptions::Answer::kArguments) return std::make_unique<Arguments>(o.named_function);
  if (o.answer == ParserOptions::Answer::kCallList) return std::make_unique<CallList>();
  if (o.tools == chat::ToolFormat::kNone && !o.reasoning) return nullptr;
  return std::make_unique<ModelFormat>(o);
}

}  // namespace awq::server
