#pragma once

#include <string>
#include <vector>

namespace awq::chat {

/// A piece of what a model said, as OpenAI's stream shows it.
struct ChatDelta {
  enum class Kind {
    kContent,
    kReasoning,
    kToolStart,      ///< a call begins: index, id, name
    kToolArguments,  ///< more of the JSON text of its arguments
  };
  Kind kind = Kind::kContent;
  std::string text{};  ///< of all kinds but kToolStart
  int index = 0;       ///< of the call
  std::string id{};
  std::string name{};
  bool operator==(const ChatDelta&) const = default;
};

/// Reads one call, `{"name": ..., "arguments": {...}}` with the keys in any order and `parameters` for `arguments`,
/// one character at a time, and gives the arguments away as soon as the name is known.
class CallScanner {
 public:
  /// Calls of functions not among `names` are none; no names: all are. The list must outlive the scanner.
  explicit CallScanner(const std::vector<std::string>& names) : names_(names) {}

  enum class State { kMore, kDone, kBad };

  /// What the character settled goes to the end of `out`, without index and id. After kDone or kBad nothing more is
  /// taken. kBad before started(): this is no call.
  State push(char c, std::vector<ChatDelta>& out);
  bool started() const { return started_; }
  /// The value of the arguments is complete, though the call is still open.
  bool arguments_ended() const { return has_arguments_ && step_ == Step::kCommaOrEnd; }
  /// Everything that was pushed.
  const std::string& raw() const { return raw_; }

 private:
  enum class Step { kOpen, kKeyOrEnd, kKey, kColon, kValue, kInValue, kCommaOrEnd };

  State begin_value(char c, std::vector<ChatDelta>& out);
  State in_value(char c, std::vector<ChatDelta>& out);
  State end_value(std::vector<ChatDelta>& out);
  State end_object(std::vector<ChatDelta>& out);
  void give(std::string_view text, std::vector<ChatDelta>& out);

  const std::vector<std::string>& names_;
  Step step_ = Step::kOpen;
  std::string raw_;
  std::string key_;
  std::string value_;    ///< of the key being read, where it is kept
  std::string pending_;  ///< arguments that came before the name
  std::string name_;
  std::string nesting_;  ///< closing brackets still to come
  bool in_string_ = false;
  bool escaped_ = false;
  bool is_arguments_ = false;
  bool text_arguments_ = false;  ///< arguments given as a JSON text
  bool has_arguments_ = false;
  bool started_ = false;
};

}  // namespace awq::chat
