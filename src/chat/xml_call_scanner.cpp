#include "chat/xml_call_scanner.h"

#include <fmt/format.h>

#include <string_view>

#include "chat/xml_calls.h"

namespace awq::chat {
namespace {

using Kind = ChatDelta::Kind;
using file::OrderedJson;

constexpr std::string_view kFunction = "<function=";
constexpr std::string_view kFunctionEnd = "</function>";
constexpr std::string_view kParameter = "<parameter=";
constexpr std::string_view kParameterEnd = "</parameter>";
constexpr std::string_view kKey = "<arg_key>";
constexpr std::string_view kKeyEnd = "</arg_key>";
constexpr std::string_view kValue = "<arg_value>";
constexpr std::string_view kValueEnd = "</arg_value>";
constexpr std::string_view kCallEnd = "</tool_call>";

/// How a byte stands inside a JSON string.
void append_escaped(std::string& out, char c) {
  constexpr std::string_view kSpecial = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (const std::size_t at = kSpecial.find(c); at != std::string_view::npos) {
    out += {'\\', kLetters[at]};
  } else if (byte < 0x20) {
    out += "\\u00";
    out += {kHex[byte >> 4], kHex[byte & 15]};
  } else {
    out += c;
  }
}

void give(std::string text, std::vector<ChatDelta>& out) {
  if (!text.empty()) out.push_back({.kind = Kind::kToolArguments, .text = std::move(text)});
}

const OrderedJson* find_parameters(const OrderedJson& tools, const std::string& name) {
  if (!tools.is_array()) return nullptr;
  for (const OrderedJson& tool : tools) {
    const auto function = tool.find("function");
    if (function == tool.end() || !function->is_object()) continue;
    const auto own = function->find("name");
    const auto parameters = function->find("parameters");
    if (own == function->end() || *own != name || parameters == function->end()) continue;
    return parameters->is_object() ? &*parameters : nullptr;
  }
  return nullptr;
}

}  // namespace

XmlCallScanner::State XmlCallScanner::push(char c, std::vector<ChatDelta>& out) {
  if (!started_) raw_ += c;
  switch (step_) {
    case Step::kOpen:
      if (text_.empty() && is_space(c)) return State::kMore;
      text_ += c;
      if (!qwen_) {
        step_ = Step::kName;
        return c == '<' ? State::kBad : State::kMore;
      }
      if (text_ == kFunction) {
        text_.clear();
        step_ = Step::kName;
      }
      return kFunction.starts_with(text_) || text_.empty() ? State::kMore : State::kBad;
    case Step::kName:
      if (qwen_ ? c == '>' : c == '\n' || c == '<') {
        const State state = start(out);
        return state == State::kMore && c == '<' ? between(c, out) : state;
      }
      text_ += c;
      return text_.size() > kMaxNameBytes || c == '<' || c == '\n' ? State::kBad : State::kMore;
    case Step::kBetween:
      return between(c, out);
    case Step::kKey:
      text_ += c;
      if (text_.size() > kMaxNameBytes) return State::kBad;
      if (!text_.ends_with(qwen_ ? std::string_view(">") : kKeyEnd)) return State::kMore;
      key_ = trimmed(text_.substr(0, text_.size() - (qwen_ ? 1 : kKeyEnd.size())));
      text_.clear();
      step_ = Step::kAfterKey;
      if (qwen_) begin_value(out);
      return State::kMore;
    case Step::kAfterKey:
      text_ += c;
      if (text_.ends_with(kValue)) begin_value(out);
      return text_.size() > kMaxNameBytes ? State::kBad : State::kMore;
    case Step::kValue:
      return value(c, out);
  }
  return State::kBad;
}

XmlCallScanner::State XmlCallScanner::start(std::vector<ChatDelta>& out) {
  name_ = trimmed(std::exchange(text_, {}));
  if (name_.empty()) return State::kBad;
  if (tools_) parameters_ = find_parameters(*tools_, name_);
  started_ = true;
  step_ = Step::kBetween;
  out.push_back({.kind = Kind::kToolStart, .name = name_});
  return State::kMore;
}

/// Looks for the next argument or the end; anything else is passed over.
XmlCallScanner::State XmlCallScanner::between(char c, std::vector<ChatDelta>& out) {
  text_ += c;
  const std::string_view argument = qwen_ ? kParameter : kKey;
  if (text_ == argument) {
    text_.clear();
    step_ = Step::kKey;
    return State::kMore;
  }
  closed_ = text_ == kCallEnd;
  if (closed_ || (qwen_ && text_ == kFunctionEnd)) return end(out);
  const bool hopeful =
      argument.starts_with(text_) || kCallEnd.starts_with(text_) || (qwen_ && kFunctionEnd.starts_with(text_));
  if (!hopeful) text_.assign(c == '<' ? 1 : 0, '<');
  return State::kMore;
}

XmlCallScanner::State XmlCallScanner::end(std::vector<ChatDelta>& out) {
  give(keys_.empty() ? "{}" : "}", out);
  return State::kDone;
}

void XmlCallScanner::begin_value(std::vector<ChatDelta>& out) {
  text_.clear();
  step_ = Step::kValue;
  schema_ = parameters_ != nullptr ? find_property(*parameters_, key_) : nullptr;
  plain_ = schema_ != nullptr && is_plain_text(*schema_);
  first_ = true;
  string_ = {};
  dropped_ = keys_.contains(key_);
  if (dropped_) return;  // the first one counts
  give(fmt::format("{}{}: {}", keys_.empty() ? "{" : ", ", in_quotes(key_), plain_ ? "\"" : ""), out);
  keys_.insert(key_);
}

/// Whether a character of the value belongs to a JSON string, its closing quote included.
bool XmlCallScanner::inside_json_string(char c) {
  if (!enforced_ || plain_) return false;
  const bool inside = string_.inside();
  string_.push(c);
  return inside;
}

XmlCallScanner::State XmlCallScanner::value(char c, std::vector<ChatDelta>& out) {
  const std::string_view tag = qwen_ ? kParameterEnd : kValueEnd;
  if (std::exchange(first_, false) && qwen_ && c == '\n') return State::kMore;  // the value stands on lines of its own
  text_ += c;
  if (inside_json_string(c)) return State::kMore;
  if (text_.ends_with(tag)) {
    text_.resize(text_.size() - tag.size());
    if (qwen_ && text_.ends_with('\n')) text_.pop_back();
    end_value(out);
    step_ = Step::kBetween;
    return State::kMore;
  }
  if (!plain_) return State::kMore;
  std::size_t keep = partial(text_, tag);
  if (qwen_ && keep < text_.size() && text_[text_.size() - keep - 1] == '\n') ++keep;
  std::string shown;
  for (const char t : std::string_view(text_).substr(0, text_.size() - keep)) append_escaped(shown, t);
  text_.erase(0, text_.size() - keep);
  if (!dropped_) give(std::move(shown), out);
  return State::kMore;
}

void XmlCallScanner::end_value(std::vector<ChatDelta>& out) {
  std::string written = std::exchange(text_, {});
  if (dropped_) return;
  if (!plain_) {
    give(to_json_value(written, schema_), out);
    return;
  }
  std::string shown;
  for (const char t : written) append_escaped(shown, t);
  give(shown + "\"", out);
}

}  // namespace awq::chat
