#pragma once

#include <memory>
#include <string>

#include "awq/generator.h"

namespace awq {

/// A conversation with a model that has a chat template: the history is rendered with the template for every answer.
/// Keys and values stay, so that an answer computes only what is new since the one before.
class ChatSession {
 public:
  /// Loads the model. `options.prompt` and `prompt_ids` are not used; `system` is the system message, empty for none.
  /// Throws Error; kUnsupported when the model has no chat template.
  explicit ChatSession(const GenerateOptions& options, std::string system = {});
  ~ChatSession();
  ChatSession(ChatSession&&) noexcept;
  ChatSession& operator=(ChatSession&&) noexcept;

  /// Adds a message of the user and answers it; pieces go to `options.on_text` as they come. A stop that was asked for
  /// (request_stop) ends the answer with finish_reason "interrupted"; what was said stays in the history. When this
  /// throws (the template refuses the message, the context is full), the history is as it was.
  GenerateSummary say(const std::string& message);
  /// Forgets all messages but the system message.
  void reset();
  /// Replaces the system message; empty: none.
  void set_system(std::string system);
  /// The messages so far as JSON text: [{"role": ..., "content": ...}, ...].
  std::string history() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace awq
