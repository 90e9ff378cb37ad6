#include "chat/output_parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "chat/xml_call_scanner.h"
#include "chat/xml_calls.h"

namespace awq::chat {
namespace {

using Kind = ChatDelta::Kind;

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kToolCall = "<tool_call>";
constexpr std::string_view kToolCallEnd = "</tool_call>";
constexpr std::string_view kToolCalls = "[TOOL_CALLS]";
constexpr std::string_view kArgs = "[ARGS]";
constexpr std::string_view kPythonTag = "<|python_tag|>";

/// Whether calls stand between <tool_call> and </tool_call>.
bool has_tags(ToolFormat format) { return format == ToolFormat::kHermes || is_xml(format); }

/// Takes `tag` off the end of a text, and the white space before it.
void drop_tag(std::string& text, std::string_view tag) {
  const std::string_view rest = std::string_view(text).substr(0, text.size() - tag.size());
  text.erase(rest.find_last_not_of(kSpaces) + 1);
}

}  // namespace

bool template_reasons(std::string_view source) { return source.find(kThinkEnd) != std::string_view::npos; }

bool opens_reasoning(std::string_view prompt) {
  const std::size_t open = prompt.rfind(kThink);
  if (open == std::string_view::npos) return false;
  const std::string_view after = prompt.substr(open + kThink.size());
  // Only white space may follow: a message that mentions the tag opens nothing.
  return std::all_of(after.begin(), after.end(), is_space);
}

OutputParser::OutputParser(OutputOptions options)
    : options_(std::move(options)),
      names_(options_.tools == ToolFormat::kLlama3 ? options_.tool_names : std::vector<std::string>()),
      place_(options_.in_reasoning ? Place::kReasoning : Place::kStart) {}

std::vector<ChatDelta> OutputParser::push(std::string_view text) {
  for (const char c : text) take(c);
  return std::exchange(out_, {});
}

std::vector<ChatDelta> OutputParser::finish() {
  switch (place_) {
    case Place::kReasoning:
      say(Kind::kReasoning, held_);
      break;
    case Place::kStart:
    case Place::kContent:
    case Place::kAfterReasoning:
      say(Kind::kContent, held_);
      break;
    case Place::kCall:
      // What never became a call was text.
      if (scanner_ && !scanner_->started()) say(Kind::kContent, held_ + scanner_->raw());
      break;
    case Place::kCallName:
      say(Kind::kContent, std::string(kToolCalls) + name_);
      break;
    default:
      break;
  }
  clear_held();
  place_ = Place::kDone;
  return std::exchange(out_, {});
}

/// Adds to the last piece where it is of the same kind.
void OutputParser::say(Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (kind == Kind::kContent) content_begun_ = true;
  if (!out_.empty() && out_.back().kind == kind && (kind != Kind::kToolArguments || out_.back().index == calls_ - 1)) {
    out_.back().text += text;
    return;
  }
  out_.push_back({.kind = kind, .text = std::string(text), .index = kind == Kind::kToolArguments ? calls_ - 1 : 0});
}

void OutputParser::take(char c) {
  switch (place_) {
    case Place::kStart:
      return start(c);
    case Place::kReasoning:
      return reasoning(c);
    case Place::kAfterReasoning:
      if (is_space(c)) return;
      place_ = Place::kContent;
      return content(c);
    case Place::kContent:
      return content(c);
    case Place::kCall:
      return call(c);
    case Place::kCallName:
      return call_name(c);
    case Place::kBetweenCalls:
      return between_calls(c);
    case Place::kDone:
      return;
  }
}

/// The very beginning: <think>, a call of Llama's kind, or content.
void OutputParser::start(char c) {
  held_ += c;
  const std::size_t begin = leading_blanks();
  if (begin == held_.size()) return;
  const std::string_view text = std::string_view(held_).substr(begin);
  if (options_.reasoning) {
    if (text == kThink) {
      clear_held();
      place_ = Place::kReasoning;
      return;
    }
    if (kThink.starts_with(text)) return;
  }
  if (options_.tools == ToolFormat::kLlama3) {
    if (text != kPythonTag && kPythonTag.starts_with(text)) return;
    if (text == kPythonTag || text[0] == '{') {
      const bool tagged = text == kPythonTag;
      if (tagged) clear_held();
      const std::string rest = tagged ? std::string() : std::string(text);
      if (!tagged) held_.resize(begin);  // the white space before, in case this is no call
      place_ = Place::kCall;
      scanner_ = std::make_unique<CallScanner>(names_);
      for (const char next : rest) call(next);
      return;
    }
  }
  place_ = Place::kContent;
  content_begun_ = true;
  const std::string all = held_;
  clear_held();
  for (const char next : all) content(next);
}

void OutputParser::reasoning(char c) {
  held_ += c;
  if (!reasoning_begun_) {  // a line feed after the tag is not part of the thought
    if (leading_blanks() == held_.size()) return;
    clear_held();
    held_ += c;
    reasoning_begun_ = true;
  }
  if (held_.ends_with(kThinkEnd)) {
    drop_tag(held_, kThinkEnd);
    say(Kind::kReasoning, held_);
    clear_held();
    place_ = Place::kAfterReasoning;
    return;
  }
  release(Kind::kReasoning, unsettled(kThinkEnd));
}

void OutputParser::content(char c) {
  if (options_.tools == ToolFormat::kLlama3 && !content_begun_ && held_.empty() && (c == '{' || c == '<')) {
    // After a thought a call can come as it can at the beginning.
    place_ = Place::kStart;
    if (c == '<') {
      held_ = c;
      return;
    }
    return start(c);
  }
  held_ += c;
  const bool mistral = options_.tools == ToolFormat::kMistral || options_.tools == ToolFormat::kMistralNamed;
  const std::string_view tag = has_tags(options_.tools) ? kToolCall : mistral ? kToolCalls : std::string_view();
  if (tag.empty()) return release(Kind::kContent, 0);
  if (held_.ends_with(tag)) {
    drop_tag(held_, tag);
    release(Kind::kContent, 0);
    clear_held();
    in_list_ = false;
    if (mistral) {
      name_.clear();
      place_ = Place::kCallName;
    } else {
      begin_call();
    }
    return;
  }
  release(Kind::kContent, unsettled(tag));
}

/// White space that the held text begins with. What was looked at once is not looked at again: a client can have a
/// model say nothing but blanks.
std::size_t OutputParser::leading_blanks() {
  while (blanks_ < held_.size() && is_space(held_[blanks_])) ++blanks_;
  return blanks_;
}

/// Length of the end of the held text that drop_tag() may take: white space waits for what follows.
std::size_t OutputParser::unsettled(std::string_view tag) {
  std::size_t length = partial(held_, tag);
  if (leading_blanks() + length >= held_.size()) return held_.size();
  while (is_space(held_[held_.size() - length - 1])) ++length;
  return length;
}

/// Shows all held text but the last `keep` bytes.
void OutputParser::release(Kind kind, std::size_t keep) {
  if (keep == held_.size()) return;
  say(kind, std::string_view(held_).substr(0, held_.size() - keep));
  held_.erase(0, held_.size() - keep);
  blanks_ = 0;
}

void OutputParser::clear_held() {
  held_.clear();
  blanks_ = 0;
}

void OutputParser::begin_call() {
  if (is_xml(options_.tools)) {
    scanner_ = std::make_unique<XmlCallScanner>(options_.tools, options_.tool_list, options_.enforced);
  } else {
    scanner_ = std::make_unique<CallScanner>(names_);
  }
  clear_held();
  if (has_tags(options_.tools)) held_ = kToolCall;
  place_ = Place::kCall;
}

void OutputParser::call(char c) {
  std::vector<ChatDelta> found;
  const CallReader::State state = scanner_->push(c, found);
  for (ChatDelta& delta : found) {
    if (delta.kind == Kind::kToolStart) {
      delta.index = calls_++;
      delta.id = options_.make_id ? options_.make_id(delta.index) : "call_" + std::to_string(delta.index);
      out_.push_back(std::move(delta));
    } else {
      say(Kind::kToolArguments, delta.text);
    }
  }
  const bool named = options_.tools == ToolFormat::kMistralNamed && !in_list_;
  if (state == CallReader::State::kDone || (named && scanner_->arguments_ended())) {
    clear_held();
    place_ = scanner_->closed() ? Place::kAfterReasoning : Place::kBetweenCalls;
  } else if (state == CallReader::State::kBad) {
    if (!scanner_->started()) {
      say(Kind::kContent, held_ + scanner_->raw());
      place_ = Place::kContent;
      content_begun_ = true;
    } else {
      place_ = Place::kBetweenCalls;
    }
    clear_held();
  }
}

/// After [TOOL_CALLS]: a list of calls, or a name and [ARGS] (which some models leave out).
void OutputParser::call_name(char c) {
  if (name_.find_first_not_of(" \n") == std::string::npos && c == '[') {
    // "[ARGS]" cannot come before a name.
    in_list_ = true;
    name_.clear();
    begin_call();
    return;
  }
  name_ += c;
  const bool marked = name_.ends_with(kArgs);
  if (!marked && c != '{') {
    if (name_.size() > kMaxNameBytes) {
      say(Kind::kContent, std::string(kToolCalls) + name_);
      place_ = Place::kContent;
    }
    return;
  }
  const std::string_view before = std::string_view(name_).substr(0, name_.size() - (marked ? kArgs.size() : 1));
  // The scanner reads whole calls; the name comes first, as if it had been written that way.
  begin_call();
  const std::string head = fmt::format(R"({{"name": {}, "arguments": )", in_quotes(trimmed(before)));
  for (const char h : head) call(h);
  if (!marked && place_ == Place::kCall) call('{');
}

void OutputParser::between_calls(char c) {
  if (options_.tools == ToolFormat::kMistralNamed && !in_list_) {
    // A call of this kind ends with its arguments.
    held_ += c;
    if (held_.ends_with(kToolCalls)) {
      clear_held();
      name_.clear();
      place_ = Place::kCallName;
    }
    return;
  }
  if (has_tags(options_.tools)) {
    held_ += c;
    if (held_.ends_with(kToolCallEnd)) {
      clear_held();
      place_ = Place::kAfterReasoning;  // more calls or text may follow; white space between goes
    } else if (held_.ends_with(kToolCall)) {
      begin_call();
    }
    return;
  }
  if (is_space(c) || c == ',' || c == ';' || c == ']') return;
  if (c == '{') {
    begin_call();
    call(c);
  }
}

ParsedOutput parse_output(std::string_view text, const OutputOptions& options) {
  OutputParser parser(options);
  ParsedOutput out;
  std::vector<ChatDelta> all = parser.push(text);
  for (ChatDelta& delta : parser.finish()) all.push_back(std::move(delta));
  for (ChatDelta& delta : all) {
    switch (delta.kind) {
      case Kind::kContent:
        out.content += delta.text;
        break;
      case Kind::kReasoning:
        out.reasoning += delta.text;
        break;
      case Kind::kToolStart:
        out.calls.push_back({std::move(delta.id), std::move(delta.name), {}});
        break;
      case Kind::kToolArguments:
        out.calls[static_cast<std::size_t>(delta.index)].arguments += delta.text;
        break;
    }
  }
  return out;
}

}  // namespace awq::chat
