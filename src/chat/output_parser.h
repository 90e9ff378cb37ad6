#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/call_scanner.h"
#include "chat/tool_format.h"

namespace awq::chat {

struct OutputOptions {
  ToolFormat tools = ToolFormat::kNone;  ///< look for calls; only where the request has tools
  bool reasoning = false;                ///< take <think>...</think> at the beginning apart
  bool in_reasoning = false;             ///< the prompt ends inside <think>: see opens_reasoning()
  /// Functions of the request. A JSON answer of a Llama model looks like a call; it is one only with such a name.
  std::vector<std::string> tool_names{};
  /// `tools` of the request, or null: where arguments are elements, their schemas tell texts from JSON.
  std::shared_ptr<const file::OrderedJson> tool_list{};
  bool enforced = false;  ///< the answer follows tool_call_grammar()
  /// Name of call number `index`; empty: "call_0", "call_1" ...
  std::function<std::string(int index)> make_id{};
};

/// Whether a template is of a model that thinks: it mentions </think>.
bool template_reasons(std::string_view template_source);
/// Whether a rendered prompt leaves a <think> open, so that the answer begins inside it.
bool opens_reasoning(std::string_view prompt);

/// Takes an answer apart while it comes. The pieces, put together, do not depend on how the text was cut. The text has
/// to be decoded with special tokens where tool_markers() names any; end-of-sequence tokens are not part of it.
class OutputParser {
 public:
  explicit OutputParser(OutputOptions options);

  /// More text; returns what it settled. Text that may still become a tag or a call is held back.
  std::vector<ChatDelta> push(std::string_view text);
  /// The rest; call once. A call that was cut off stays as far as it came.
  std::vector<ChatDelta> finish();
  /// Calls begun so far: the finish reason of an answer with any is "tool_calls".
  int call_count() const { return calls_; }

 private:
  enum class Place { kStart, kReasoning, kAfterReasoning, kContent, kCall, kBetweenCalls, kCallName, kDone };

  void take(char c);
  void start(char c);
  void reasoning(char c);
  void content(char c);
  void call(char c);
  void call_name(char c);
  void between_calls(char c);
  std::size_t leading_blanks();
  std::size_t unsettled(std::string_view tag);
  void release(ChatDelta::Kind kind, std::size_t keep);
  void clear_held();
  void say(ChatDelta::Kind kind, std::string_view text);
  void begin_call();

  OutputOptions options_;
  std::vector<std::string> names_;  ///< that the scanner insists on
  Place place_;
  std::string held_;        ///< text that is not settled
  std::size_t blanks_ = 0;  ///< of it, at its beginning, known to be white space
  std::string name_;        ///< kCallName
  bool content_begun_ = false;
  bool reasoning_begun_ = false;
  bool in_list_ = false;  ///< Mistral's brackets are open
  int calls_ = 0;
  std::unique_ptr<CallReader> scanner_;
  std::vector<ChatDelta> out_;
};

struct ParsedOutput {
  std::string content;
  std::string reasoning;
  struct Call {
    std::string id, name, arguments;
  };
  std::vector<Call> calls;
};
/// A whole answer at once.
ParsedOutput parse_output(std::string_view text, const OutputOptions& options);

}  // namespace awq::chat
