#include "awq/chat.h"

#include <algorithm>
#include <utility>

#include "api/generation_options.h"
#include "api/setup.h"
#include "api/text_model.h"
#include "base/check.h"
#include "base/resources.h"
#include "base/stop.h"
#include "chat/output_parser.h"
#include "chat/prompt.h"
#include "file/json.h"
#include "template/chat_template.h"

namespace awq {
namespace {

using Json = file::OrderedJson;

std::unique_ptr<templates::ChatTemplate> load_template(const std::filesystem::path& folder) {
  auto out = templates::ChatTemplate::load(folder);
  if (!out) {
    fail(ErrorCode::kUnsupported,
         "{}: no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): this model continues "
         "text but holds no conversations",
         folder.string());
  }
  return out;
}

}  // namespace

struct ChatSession::State {
  State(const GenerateOptions& given, std::string system_message)
      : options(given),
        begin(monotonic_seconds()),
        chat(load_template(given.model)),
        files(model::ModelFiles::open(given.model)),
        tokenizer(text::Tokenizer::load(given.model)),
        encoder(*tokenizer),
        generation(api::generation_options(given)),
        model(files, given, api::open_device(given.device, given.head)),
        load_seconds(monotonic_seconds() - begin),
        system(std::move(system_message)) {
    // Chat models end a message with a token of their own, which not all of them name in config.json.
    const auto eos = tokenizer->token_id(chat->special_token("eos_token"));
    if (eos && !given.ignore_eos) generation.sampling.stop_token_ids.push_back(*eos);
  }

  Json with_system(const Json& turns) const {
    Json out = Json::array();
    if (!system.empty()) out.push_back({{"role", "system"}, {"content", system}});
    for (const Json& message : turns) out.push_back(message);
    return out;
  }

  GenerateOptions options;
  double begin;
  std::unique_ptr<templates::ChatTemplate> chat;
  model::ModelFiles files;
  std::unique_ptr<text::Tokenizer> tokenizer;
  chat::PromptEncoder encoder;
  generate::GenerationOptions generation;
  api::TextModel model;
  generate::KeptContext kept;  ///< of the conversation so far; before the model in destruction
  double load_seconds;
  std::string system;
  Json messages = Json::array();
};

ChatSession::ChatSession(const GenerateOptions& options, std::string system) {
  api::set_up_threads(options.threads, options.threads_decode);
  api::set_up_activations(options.activations);
  state_ = std::make_unique<State>(options, std::move(system));
}
ChatSession::~ChatSession() = default;
ChatSession::ChatSession(ChatSession&&) noexcept = default;
ChatSession& ChatSession::operator=(ChatSession&&) noexcept = default;

GenerateSummary ChatSession::say(const std::string& message) {
  State& s = *state_;
  Json messages = s.messages;
  messages.push_back({{"role", "user"}, {"content", message}});
  // The template writes the beginning-of-sequence token itself.
  const auto [prompt, ids] = s.encoder.encode(*s.chat, s.with_system(messages), {});
  const std::int64_t vocab = s.files.config().vocab_size;
  if (std::any_of(ids.begin(), ids.end(), [vocab](std::int32_t id) { return id < 0 || id >= vocab; })) {
    fail(ErrorCode::kCorruptFile, "the tokenizer gives an id beyond the {} tokens of the model", vocab);
  }
  const generate::GenerationResult result =
      s.model.generate(*s.tokenizer, ids, s.generation, s.options.on_text, &s.kept);
  // What a model thought is no part of what it said.
  const std::string& source = s.chat->source();
  const bool reasons = chat::template_reasons(source);
  const chat::ParsedOutput said =
      chat::parse_output(result.text, {.reasoning = reasons, .in_reasoning = reasons && chat::opens_reasoning(prompt)});
  messages.push_back({{"role", "assistant"}, {"content", said.content}});
  s.messages = std::move(messages);
  return api::summarize(result, ids.size(), s.load_seconds);
}

void ChatSession::reset() { state_->messages = Json::array(); }

void ChatSession::set_system(std::string system) { state_->system = std::move(system); }

std::string ChatSession::history() const {
  // Lines that somebody typed may be no valid UTF-8.
  return file::to_line(state_->with_system(state_->messages));
}

}  // namespace awq
