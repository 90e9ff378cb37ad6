#include "server/openai/chat_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "server/service.h"

namespace awq::server {
namespace {

// Private-use characters that no tokenizer treats in a special way enclose the number of a hidden token.
constexpr std::string_view kMarkBegin = "\uE0A0", kMarkEnd = "\uE0A1";

}  // namespace

ChatFormat::ChatFormat(std::unique_ptr<templates::ChatTemplate> chat_template, const text::Tokenizer& tokenizer,
                       const std::string& tool_parser, const std::string& reasoning_parser)
    : template_(std::move(chat_template)), tokenizer_(tokenizer) {
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id)) continue;
    std::string token = tokenizer.token(id);
    if (token.empty()) continue;
    begins_special_[static_cast<unsigned char>(token.front())] = true;
    special_tokens_.push_back(std::move(token));
  }
  std::sort(special_tokens_.begin(), special_tokens_.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  });
  knows_developer_ = template_->source().find("developer") != std::string::npos;
  tools_ = tool_format(tool_parser, template_->source(true));
  if (reasoning_parser != "auto" && reasoning_parser != "none" && reasoning_parser != "think")
    fail(ErrorCode::kInvalidArgument, "--reasoning-parser {}: expected auto, none or think",
         printable(reasoning_parser));
  const bool thinks = template_->source().find("<think>") != std::string::npos ||
                      template_->source().find("</think>") != std::string::npos;
  reasons_ = reasoning_parser == "think" || (reasoning_parser == "auto" && thinks);
}

std::string ChatFormat::hide_special(const std::string& text, const std::string& mark,
                                     std::vector<std::string>& found) const {
  // O(text * special tokens), but only positions that begin like one of them are looked at closely.
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (!begins_special_[static_cast<unsigned char>(text[at])]) {
      out += text[at++];
      continue;
    }
    const std::string_view rest = std::string_view(text).substr(at);
    const auto hit = std::find_if(special_tokens_.begin(), special_tokens_.end(),
                                  [&](const std::string& token) { return rest.starts_with(token); });
    if (hit == special_tokens_.end()) {
      out += text[at++];
      continue;
    }
    out += fmt::format("{}{}{}{}", kMarkBegin, mark, found.size(), kMarkEnd);
    found.push_back(*hit);
    at += hit->size();
  }
  return out;
}

void ChatFormat::hide_special(OrderedJson& json, const std::string& mark, std::vector<std::string>& found) const {
  if (json.is_string()) {
    json = hide_special(json.get_ref<const std::string&>(), mark, found);
  } else if (json.is_structured()) {  // depth: bounded when the request was parsed
    for (OrderedJson& item : json) hide_special(item, mark, found);
  }
}

std::string ChatFormat::render(const OrderedJson& messages, const ChatFields& fields, const ServeLimits& limits) const {
  templates::RenderOptions options;
  options.add_generation_prompt = fields.add_generation_prompt;
  options.continue_final_message = fields.continue_final_message;
  options.tools = fields.tools;
  options.documents = fields.documents;
  options.variables = fields.variables;
  options.limits.steps = static_cast<decltype(options.limits.steps)>(limits.max_template_steps);
  try {
    return template_->render(messages, options);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) throw;
    throw ApiError(400, fmt::format("the chat template: {}", error.message()), "messages");
  }
}

ChatFormat::Prompt ChatFormat::encode(const ChatFields& fields, const ServeLimits& limits) const {
  OrderedJson messages = fields.messages;
  std::vector<std::string> hidden;
  const std::string mark = fmt::format("{:016x}.", random_seed());
  for (OrderedJson& message : messages) {
    if (!knows_developer_ && message["role"] == "developer") message["role"] = "system";
    for (const char* name : {"content", "reasoning_content", "name", "tool_calls"}) {
      if (message.contains(name)) hide_special(message[name], mark, hidden);
    }
  }
  const std::string text = render(messages, fields, limits);
  const text::EncodeOptions plain{.add_special_tokens = fields.add_special_tokens, .parse_special = true};
  Prompt out;
  const std::size_t last = text.find_last_not_of(" \n");
  out.opens_reasoning = last != std::string::npos && std::string_view(text).substr(0, last + 1).ends_with("<think>");
  std::vector<std::int32_t>& ids = out.ids;
  if (hidden.empty()) {
    ids = tokenizer_.encode(text, plain);
    return out;
  }
  const std::string begin = std::string(kMarkBegin) + mark;
  std::size_t at = 0;
  text::EncodeOptions options = plain;
  while (at < text.size()) {
    const std::size_t next = std::min(text.find(begin, at), text.size());
    const std::vector<std::int32_t> piece = tokenizer_.encode(std::string_view(text).substr(at, next - at), options);
    ids.insert(ids.end(), piece.begin(), piece.end());
    options.add_special_tokens = false;
    if (next == text.size()) break;
    const std::size_t number = next + begin.size();
    const std::size_t end = text.find(kMarkEnd, number);
    std::size_t index = 0;
    for (std::size_t i = number; i < end && i < text.size(); ++i)
      index = index * 10 + static_cast<std::size_t>(text[i] - '0');
    const std::vector<std::int32_t> literal =
        tokenizer_.encode(hidden.at(index), {.add_special_tokens = false, .parse_special = false});
    ids.insert(ids.end(), literal.begin(), literal.end());
    at = end + kMarkEnd.size();
  }
  return out;
}

}  // namespace awq::server
