#pragma once

#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "file/json.h"
#include "template/interpreter.h"

namespace awq::templates {

/// What a conversation is rendered with, beside its messages.
struct RenderOptions {
  bool add_generation_prompt = true;
  /// Leave the last message open, so that the model goes on with it. Not together with add_generation_prompt.
  bool continue_final_message = false;
  file::OrderedJson tools = nullptr;      ///< array of OpenAI's tool objects, or null
  file::OrderedJson documents = nullptr;  ///< array, or null
  /// More variables for the template, as an object: `enable_thinking` and the like. Names that the template does not
  /// read are ignored; names that the renderer itself sets are refused with kInvalidArgument.
  file::OrderedJson variables = nullptr;
  std::function<std::tm()> clock{};  ///< for strftime_now; empty: the local time
  RenderLimits limits{};
};

/// The chat template of a model folder, parsed once. Immutable: safe to use from many threads at once.
class ChatTemplate {
 public:
  /// chat_template.jinja of the folder, or `chat_template` of tokenizer_config.json (a text, or a list of named ones
  /// of which "default" is used, and "tool_use" when there are tools). Nothing when the folder has none.
  /// Throws kCorruptFile for a template that is not one, kUnsupported for statements that load other files.
  static std::unique_ptr<ChatTemplate> load(const std::filesystem::path& folder);
  /// `special_tokens`: variables such as bos_token and eos_token.
  static std::unique_ptr<ChatTemplate> from_source(std::string source, const std::string& name,
                                                   std::vector<std::pair<std::string, std::string>> special_tokens);

  /// The prompt for `messages`, an array of objects with `role` and `content`. Content given as a list of text parts
  /// becomes one text where the template does not look into lists itself, and the `arguments` of tool calls become
  /// objects where they are JSON text. Throws TemplateRefusal for what the template refuses, StepsSpent and
  /// TextTooLong for what is too much work, kInvalidArgument for what it cannot render (all the caller's to mend: HTTP
  /// 400).
  std::string render(const file::OrderedJson& messages, const RenderOptions& options) const;

  /// The text of the template that is used with or without tools.
  const std::string& source(bool with_tools = false) const;
  /// A special token of tokenizer_config.json by its name, such as "eos_token"; empty when it has none.
  std::string special_token(std::string_view name) const;
  /// Whether the template reads a variable of this name.
  bool reads(std::string_view variable) const;

 private:
  struct Variant {
    std::string name;
    std::string source;
    Block block{};
    bool reads_parts = false;  ///< looks into content that is a list
  };
  ChatTemplate() = default;
  void add(std::string name, std::string source, const std::string& file);
  const Variant& variant(bool with_tools) const;
  file::OrderedJson prepared(const file::OrderedJson& messages, const Variant& used) const;

  std::string name_;
  std::vector<Variant> variants_;
  std::vector<std::pair<std::string, file::OrderedJson>> special_tokens_;
};

}  // namespace awq::templates
