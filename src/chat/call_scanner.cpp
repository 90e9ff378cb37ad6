#include "chat/call_scanner.h"

#include <algorithm>

#include "awq/error.h"
#include "file/json.h"

namespace awq::chat {
namespace {

constexpr std::size_t kMaxQuotedBytes = 4096;  // of a name with its escapes
constexpr std::size_t kMaxNesting = 64;

/// The text that a JSON string stands for; nothing when it is none.
bool decode(const std::string& quoted, std::string& out) {
  try {
    const auto json = file::parse_json<file::Json>(quoted, "text");
    if (!json.is_string()) return false;
    out = json.get<std::string>();
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

CallScanner::State CallScanner::push(char c, std::vector<ChatDelta>& out) {
  raw_ += c;
  switch (step_) {
    case Step::kOpen:
      if (is_space(c)) return State::kMore;
      if (c != '{') return State::kBad;
      step_ = Step::kKeyOrEnd;
      return State::kMore;
    case Step::kKeyOrEnd:
      if (is_space(c)) return State::kMore;
      if (c == '}') return end_object(out);
      if (c != '"') return State::kBad;
      key_ = "\"";
      string_.push(c);
      step_ = Step::kKey;
      return State::kMore;
    case Step::kKey:
      key_ += c;
      if (key_.size() > kMaxNameBytes) return State::kBad;
      string_.push(c);
      if (string_.inside()) return State::kMore;
      step_ = Step::kColon;
      return decode(std::string(key_), key_) ? State::kMore : State::kBad;
    case Step::kColon:
      if (is_space(c)) return State::kMore;
      if (c != ':') return State::kBad;
      step_ = Step::kValue;
      return State::kMore;
    case Step::kValue:
      return is_space(c) ? State::kMore : begin_value(c, out);
    case Step::kInValue:
      return in_value(c, out);
    case Step::kCommaOrEnd:
      if (is_space(c)) return State::kMore;
      if (c == '}') return end_object(out);
      if (c != ',') return State::kBad;
      step_ = Step::kKeyOrEnd;
      return State::kMore;
  }
  return State::kBad;
}

CallScanner::State CallScanner::begin_value(char c, std::vector<ChatDelta>& out) {
  value_.clear();
  nesting_.clear();
  is_arguments_ = key_ == "arguments" || key_ == "parameters";
  if (is_arguments_ && has_arguments_) return State::kBad;
  text_arguments_ = is_arguments_ && c == '"';
  has_arguments_ = has_arguments_ || is_arguments_;
  if (key_ == "name" && (c != '"' || !name_.empty())) return State::kBad;
  if (c == ',' || c == '}' || c == ']' || c == ':') return State::kBad;
  step_ = Step::kInValue;
  return in_value(c, out);
}

CallScanner::State CallScanner::in_value(char c, std::vector<ChatDelta>& out) {
  const bool keep = key_ == "name" || text_arguments_;
  const auto take = [&] {
    if (keep) {
      value_ += c;
    } else if (is_arguments_) {
      give({&c, 1}, out);
    }
  };
  if (key_ == "name" && value_.size() > kMaxQuotedBytes) return State::kBad;
  const bool in_string = string_.inside();
  string_.push(c);
  if (in_string) {
    take();
    return string_.inside() || !nesting_.empty() ? State::kMore : end_value(out);
  }
  if (nesting_.empty() && (c == ',' || c == '}' || is_space(c))) {  // the end of a number or a word
    const State state = end_value(out);
    if (state != State::kMore || is_space(c)) return state;
    if (c == '}') return end_object(out);
    step_ = Step::kKeyOrEnd;
    return State::kMore;
  }
  if (c == '{' || c == '[') {
    if (nesting_.size() >= kMaxNesting) return State::kBad;
    nesting_ += c == '{' ? '}' : ']';
  }
  if (c == '}' || c == ']') {
    if (nesting_.empty() || nesting_.back() != c) return State::kBad;
    nesting_.pop_back();
    take();
    return nesting_.empty() ? end_value(out) : State::kMore;
  }
  take();
  return State::kMore;
}

CallScanner::State CallScanner::end_value(std::vector<ChatDelta>& out) {
  step_ = Step::kCommaOrEnd;
  if (key_ == "name") {
    if (!decode(value_, name_) || name_.empty()) return State::kBad;
    if (!names_.empty() && std::find(names_.begin(), names_.end(), name_) == names_.end()) return State::kBad;
    started_ = true;
    out.push_back({.kind = ChatDelta::Kind::kToolStart, .name = name_});
    if (!pending_.empty()) out.push_back({.kind = ChatDelta::Kind::kToolArguments, .text = std::move(pending_)});
    pending_.clear();
  } else if (text_arguments_) {
    std::string text;
    if (!decode(value_, text)) return State::kBad;
    give(text, out);
  }
  return State::kMore;
}

CallScanner::State CallScanner::end_object(std::vector<ChatDelta>& out) {
  if (!started_) return State::kBad;
  if (!has_arguments_) give("{}", out);
  return State::kDone;
}

void CallScanner::give(std::string_view text, std::vector<ChatDelta>& out) {
  if (text.empty()) return;
  if (!started_) {
    pending_ += text;
  } else {
    out.push_back({.kind = ChatDelta::Kind::kToolArguments, .text = std::string(text)});
  }
}

}  // namespace awq::chat
