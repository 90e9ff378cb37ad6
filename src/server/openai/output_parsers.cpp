#include "server/openai/output_parsers.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "server/openai/bodies.h"
#include "server/service.h"

namespace awq::server {
namespace {

constexpr std::string_view kThinkBegin = "<think>", kThinkEnd = "</think>";
constexpr std::string_view kCallBegin = "<tool_call>", kCallEnd = "</tool_call>";
constexpr std::string_view kMistralMark = "[TOOL_CALLS]", kPythonTag = "<|python_tag|>";
constexpr int kMaxCallDepth = 64;

/// Length of the longest end of `text` that `mark` begins with: it has to wait for what comes.
std::size_t pending(std::string_view text, std::string_view mark) {
  for (std::size_t n = std::min(text.size(), mark.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == mark.substr(0, n)) return n;
  }
  return 0;
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

OrderedJson parse_lenient(const std::string& text) {
  try {
    return file::parse_json<OrderedJson>(text, "call", {.max_depth = kMaxCallDepth});
  } catch (const Error&) {
    return nullptr;
  }
}

/// Where the JSON value at the beginning of `text` ends; npos when it does not.
std::size_t value_end(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return i + 1;
  }
  return std::string_view::npos;
}

/// Numbers calls and gives them ids.
class CallWriter {
 public:
  explicit CallWriter(bool parallel) : parallel_(parallel) {}

  void add(std::string name, std::string arguments, ParsedText& out) {
    const std::int64_t index = next_++;
    if (index > 0 && !parallel_) return;
    out.tool_calls.push_back({index, random_id("call_"), std::move(name), std::move(arguments)});
  }
  /// A call as an object {"name", "arguments" or "parameters"}; false when it is none.
  bool add(const OrderedJson& call, ParsedText& out) {
    if (!call.is_object() || !call.contains("name") || !call["name"].is_string()) return false;
    OrderedJson arguments = OrderedJson::object();
    for (const char* name : {"arguments", "parameters"}) {
      if (call.contains(name)) arguments = call[name];
    }
    // Some models write the arguments as text already.
    add(call["name"].get<std::string>(), arguments.is_string() ? arguments.get<std::string>() : to_line(arguments),
        out);
    return true;
  }
  bool add_list(const OrderedJson& list, ParsedText& out) {
    if (!list.is_array() || list.empty()) return false;
    return std::all_of(list.begin(), list.end(), [&](const OrderedJson& call) { return add(call, out); });
  }

 private:
  bool parallel_;
  std::int64_t next_ = 0;
};

class PlainText final : public OutputParser {
 public:
  void push(const std::string& text, ParsedText& out) override { out.content += text; }
  void finish(ParsedText&) override {}
};

/// Text outside of the marks is content; what is between two marks is a call, or content when it is none.
class Hermes final : public OutputParser {
 public:
  explicit Hermes(bool parallel) : calls_(parallel) {}

  void push(const std::string& text, ParsedText& out) override {
    held_ += text;
    while (true) {
      const std::string_view mark = inside_ ? kCallEnd : kCallBegin;
      const std::size_t at = held_.find(mark);
      if (at == std::string::npos) break;
      const std::string before = held_.substr(0, at);
      held_.erase(0, at + mark.size());
      if (inside_) {
        if (!calls_.add(parse_lenient(trimmed(before)), out))
          out.content += std::string(kCallBegin) + before + std::string(kCallEnd);
        any_ = true;
      } else {
        show(before, out);
      }
      inside_ = !inside_;
    }
    if (inside_) return;
    const std::size_t keep = pending(held_, kCallBegin);
    show(held_.substr(0, held_.size() - keep), out);
    held_.erase(0, held_.size() - keep);
  }
  void finish(ParsedText& out) override {
    // An answer that was cut may lack only the last mark.
    if (inside_ && !calls_.add(parse_lenient(trimmed(held_)), out)) out.content += std::string(kCallBegin) + held_;
    if (!inside_) show(held_, out);
    held_.clear();
  }

 private:
  /// Blanks between calls are no content.
  void show(const std::string& text, ParsedText& out) {
    if (any_ && trimmed(text).empty()) return;
    out.content += text;
  }

  CallWriter calls_;
  std::string held_;
  bool inside_ = false, any_ = false;
};

/// The answer is a call when it begins like one; it is known at its end.
class WholeAnswer final : public OutputParser {
 public:
  WholeAnswer(ToolFormat format, bool parallel) : format_(format), calls_(parallel) {}

  void push(const std::string& text, ParsedText& out) override {
    held_ += text;
    if (!open_) out.content += std::exchange(held_, {});
    if (!open_ || decided_) return;
    const std::size_t begin = held_.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) return;
    const std::string_view start = std::string_view(held_).substr(begin);
    const std::string_view mark = format_ == ToolFormat::kMistral ? kMistralMark : kPythonTag;
    const bool bracket = start.front() == '{' || start.front() == '[';
    if (start.starts_with(mark) || (format_ != ToolFormat::kMistral && bracket)) {
      decided_ = true;
    } else if (!mark.starts_with(start)) {
      open_ = false;
      out.content += std::exchange(held_, {});
    }
  }
  void finish(ParsedText& out) override {
    if (!open_ || held_.empty()) return;
    if (!parse(trimmed(held_), out)) out.content += held_;
    held_.clear();
  }

 private:
  bool parse(std::string text, ParsedText& out) {
    const std::string_view mark = format_ == ToolFormat::kMistral ? kMistralMark : kPythonTag;
    if (text.starts_with(mark)) text = trimmed(text.substr(mark.size()));
    if (format_ == ToolFormat::kCallList) return calls_.add_list(parse_lenient(text), out);
    if (format_ == ToolFormat::kMistral) {
      if (text.starts_with("[")) return calls_.add_list(parse_lenient(text), out);
      return parse_named(text, out);
    }
    bool any = false;  // {"name": ...}; {"name": ...}
    while (!text.empty()) {
      const std::size_t end = value_end(text);
      if (end == std::string::npos || !calls_.add(parse_lenient(text.substr(0, end)), out)) return any;
      any = true;
      text = trimmed(text.substr(end));
      if (text.starts_with(";") || text.starts_with(",")) text = trimmed(text.substr(1));
    }
    return any;
  }
  /// f{...}[TOOL_CALLS]g{...}
  bool parse_named(std::string text, ParsedText& out) {
    bool any = false;
    while (!text.empty()) {
      const std::size_t brace = text.find('{');
      if (brace == std::string::npos) return any;
      std::string name = text.substr(0, brace);
      name = trimmed(name.substr(0, name.find("[ARGS]")));
      const std::size_t end = value_end(std::string_view(text).substr(brace));
      if (end == std::string::npos || name.empty()) return any;
      calls_.add(name, text.substr(brace, end), out);
      any = true;
      text = trimmed(text.substr(brace + end));
      if (text.starts_with(kMistralMark)) text = trimmed(text.substr(kMistralMark.size()));
    }
    return any;
  }

  ToolFormat format_;
  CallWriter calls_;
  std::string held_;
  bool open_ = true, decided_ = false;
};

/// All text is arguments of one call, told as it comes.
class Arguments final : public OutputParser {
 public:
  explicit Arguments(std::string name) : name_(std::move(name)) {}

  void push(const std::string& text, ParsedText& out) override {
    if (text.empty()) return;
    out.tool_calls.push_back({0, "", "", text});
    if (std::exchange(begun_, true)) return;
    out.tool_calls.back().id = random_id("call_");
    out.tool_calls.back().name = name_;
  }
  void finish(ParsedText&) override {}

 private:
  std::string name_;
  bool begun_ = false;
};

/// Takes the reasoning off the front and gives the rest to another parser.
class Reasoning final : public OutputParser {
 public:
  Reasoning(std::unique_ptr<OutputParser> rest, bool inside, bool include)
      : rest_(std::move(rest)), where_(inside ? Where::kInside : Where::kBefore), include_(include) {}

  void push(const std::string& text, ParsedText& out) override {
    if (where_ == Where::kAfter) return rest(text, out);
    held_ += text;
    if (where_ == Where::kBefore) {
      const std::size_t begin = held_.find_first_not_of(" \t\r\n");
      if (begin == std::string::npos) return;
      const std::string_view start = std::string_view(held_).substr(begin);
      if (start.starts_with(kThinkBegin)) {
        held_.erase(0, begin + kThinkBegin.size());
        where_ = Where::kInside;
      } else if (kThinkBegin.starts_with(start)) {
        return;
      } else {
        where_ = Where::kAfter;
        started_ = true;
        return rest(std::exchange(held_, {}), out);
      }
    }
    const std::size_t end = held_.find(kThinkEnd);
    if (end != std::string::npos) {
      think(held_.substr(0, end), out);
      where_ = Where::kAfter;
      return rest(std::exchange(held_, {}).substr(end + kThinkEnd.size()), out);
    }
    const std::size_t keep = pending(held_, kThinkEnd);
    think(held_.substr(0, held_.size() - keep), out);
    held_.erase(0, held_.size() - keep);
  }
  void finish(ParsedText& out) override {
    if (where_ == Where::kInside) think(held_, out);
    if (where_ == Where::kBefore) rest(held_, out);
    held_.clear();
    rest_->finish(out);
  }

 private:
  enum class Where { kBefore, kInside, kAfter };

  void think(std::string text, ParsedText& out) {
    if (!thought_) text.erase(0, text.find_first_not_of("\r\n"));
    thought_ = thought_ || !text.empty();
    if (include_) out.reasoning += text;
  }
  /// The line ends between reasoning and answer belong to neither.
  void rest(std::string text, ParsedText& out) {
    if (!started_) text.erase(0, text.find_first_not_of("\r\n"));
    started_ = started_ || !text.empty();
    rest_->push(text, out);
  }

  std::unique_ptr<OutputParser> rest_;
  Where where_;
  bool include_, thought_ = false, started_ = false;
  std::string held_;
};

}  // namespace

ToolFormat tool_format(const std::string& name, const std::string& template_source) {
  if (name == "none") return ToolFormat::kNone;
  if (name == "hermes") return ToolFormat::kHermes;
  if (name == "llama3_json") return ToolFormat::kLlama3;
  if (name == "mistral") return ToolFormat::kMistral;
  if (name != "auto")
    fail(ErrorCode::kInvalidArgument, "--tool-call-parser {}: expected auto, none, hermes, llama3_json or mistral",
         printable(name));
  const auto has = [&](std::string_view mark) { return template_source.find(mark) != std::string::npos; };
  if (has(kCallBegin)) return ToolFormat::kHermes;
  if (has(kMistralMark)) return ToolFormat::kMistral;
  if (has(kPythonTag) || has("\"parameters\": dictionary")) return ToolFormat::kLlama3;
  return ToolFormat::kNone;
}

std::unique_ptr<OutputParser> make_output_parser(const ParserOptions& o) {
  std::unique_ptr<OutputParser> parser;
  switch (o.tools) {
    case ToolFormat::kNone:
      break;
    case ToolFormat::kHermes:
      parser = std::make_unique<Hermes>(o.parallel_calls);
      break;
    case ToolFormat::kArguments:
      parser = std::make_unique<Arguments>(o.named_function);
      break;
    default:
      parser = std::make_unique<WholeAnswer>(o.tools, o.parallel_calls);
  }
  if (!o.reasoning) return parser;
  if (!parser) parser = std::make_unique<PlainText>();
  return std::make_unique<Reasoning>(std::move(parser), o.inside_reasoning, o.include_reasoning);
}

}  // namespace awq::server
