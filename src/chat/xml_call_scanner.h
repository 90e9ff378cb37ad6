#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "chat/call_scanner.h"
#include "chat/tool_format.h"

namespace awq::chat {

/// Reads one call in a notation of xml_calls.h, from behind <tool_call> on, one character at a time. Arguments that are
/// texts are given away as they come, the others when they are complete.
class XmlCallScanner : public CallReader {
 public:
  /// `tools` is the list of the request or null; its schemas say which arguments are texts. `enforced`: the answer
  /// follows tool_call_grammar(), so that an end tag inside a JSON string is none.
  XmlCallScanner(ToolFormat format, std::shared_ptr<const file::OrderedJson> tools, bool enforced)
      : qwen_(format == ToolFormat::kQwenXml), enforced_(enforced), tools_(std::move(tools)) {}

  State push(char c, std::vector<ChatDelta>& out) override;
  bool started() const override { return started_; }
  const std::string& raw() const override { return raw_; }
  bool closed() const override { return closed_; }

 private:
  enum class Step { kOpen, kName, kBetween, kKey, kAfterKey, kValue };

  State start(std::vector<ChatDelta>& out);
  State between(char c, std::vector<ChatDelta>& out);
  State end(std::vector<ChatDelta>& out);
  void begin_value(std::vector<ChatDelta>& out);
  State value(char c, std::vector<ChatDelta>& out);
  void end_value(std::vector<ChatDelta>& out);
  bool inside_json_string(char c);

  bool qwen_, enforced_;
  std::shared_ptr<const file::OrderedJson> tools_;
  Step step_ = Step::kOpen;
  std::string raw_;   ///< until the call has begun
  std::string text_;  ///< not settled
  std::string name_, key_;
  std::set<std::string> keys_;
  const file::OrderedJson* parameters_ = nullptr;
  const file::OrderedJson* schema_ = nullptr;  ///< of the value being read
  bool plain_ = false;                         ///< it is a text
  bool dropped_ = false;                       ///< its key came before
  bool first_ = false;                         ///< nothing of it has come
  JsonStringScanner string_;
  bool started_ = false, closed_ = false;
};

}  // namespace awq::chat
