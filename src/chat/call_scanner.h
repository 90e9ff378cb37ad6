#pragma once

#include <string>
#include <vector>

#include "chat/scan_text.h"

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

/// Reads one call of a tool, one character at a time.
class CallReader {
 public:
  virtual ~CallReader() = default;
  enum class State { kMore, kDone, kBad };

  /// What the character settled goes to the end of `out`, without index and id. After kDone or kBad nothing more is
  /// taken. kBad before started(): this is no call.
  virtual State push(char c, std::vector<ChatDelta>& out) = 0;
  virtual bool started() const = 0;
  /// Everything that was pushed, at least until started().
  virtual const std::string& raw() const = 0;
  /// The value of the arguments is complete, though the call is still open.
  virtual bool arguments_ended() const { return false; }
  /// After kDone: the mark that ends the call was read as well.
  virtual bool closed() const { return false; }
};

/// Reads one call, `{"name": ..., "arguments": {...}}` with the keys in any order and `parameters` for `arguments`,
/// one character at a time, and gives the arguments away as soon as the name is known.
class CallScanner : public CallReader {
 public:
  /// Calls of functions not among `names` are none; no names: all are. The list must outlive the scanner.
  explicit CallScanner(const std::vector<std::string>& names) : names_(names) {}

  State push(char c, std::vector<ChatDelta>& out) override;
  bool started() const override { return started_; }
  bool arguments_ended() const override { return has_arguments_ && step_ == Step::kCommaOrEnd; }
  const std::string& raw() const override { return raw_; }

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
  JsonStringScanner string_;
  bool is_arguments_ = false;
  bool text_arguments_ = false;  ///< arguments given as a JSON text
  bool has_arguments_ = false;
  bool started_ = false;
};

}  // namespace awq::chat
