#include "server/openai/chat_format.h"

#include <fmt/format.h>

#include "base/check.h"
#include "chat/output_parser.h"

namespace awq::server {

ChatFormat::ChatFormat(std::unique_ptr<templates::ChatTemplate> chat_template, const text::Tokenizer& tokenizer,
                       const std::string& tool_parser, const std::string& reasoning_parser)
    : template_(std::move(chat_template)), tokenizer_(tokenizer), encoder_(tokenizer) {
  knows_developer_ = template_->source().find("developer") != std::string::npos;
  tools_ = tool_format(tool_parser, template_->source(true));
  if (reasoning_parser != "auto" && reasoning_parser != "none" && reasoning_parser != "think")
    fail(ErrorCode::kInvalidArgument, "--reasoning-parser {}: expected auto, none or think",
         printable(reasoning_parser));
  reasons_ = reasoning_parser == "think" || (reasoning_parser == "auto" && chat::template_reasons(template_->source()));
}

ChatFormat::Prompt ChatFormat::encode(const ChatFields& fields, const ServeLimits& limits) const {
  OrderedJson messages = fields.messages;
  for (OrderedJson& message : messages) {
    if (!knows_developer_ && message["role"] == "developer") message["role"] = "system";
  }
  templates::RenderOptions options;
  options.add_generation_prompt = fields.add_generation_prompt;
  options.continue_final_message = fields.continue_final_message;
  options.tools = fields.tools;
  options.documents = fields.documents;
  options.variables = fields.variables;
  options.limits.steps = static_cast<decltype(options.limits.steps)>(limits.max_template_steps);
  options.limits.output_bytes = static_cast<std::size_t>(limits.max_template_bytes);
  try {
    chat::Prompt prompt = encoder_.encode(*template_, messages, options);
    Prompt out{.ids = std::move(prompt.ids), .opens_reasoning = chat::opens_reasoning(prompt.text)};
    if (fields.add_special_tokens) {
      const std::vector<std::int32_t> prefix = tokenizer_.prefix_ids();
      out.ids.insert(out.ids.begin(), prefix.begin(), prefix.end());
    }
    return out;
  } catch (const templates::StepsSpent& error) {
    throw ApiError(400, fmt::format("{} (--max-template-steps)", error.message()), "messages")
        .set_limit(&ServeLimits::max_template_steps);
  } catch (const templates::TextTooLong& error) {
    throw ApiError(400, fmt::format("{} (--max-template-bytes)", error.message()), "messages")
        .set_limit(&ServeLimits::max_template_bytes);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) throw;
    throw ApiError(400, fmt::format("the chat template: {}", error.message()), "messages");
  }
}

}  // namespace awq::server
