#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "generate/generation.h"
#include "server/openai/job_spec.h"
#include "server/openai/logprobs.h"
#include "text/tokenizer.h"

namespace awq::server {

/// A copy of what the engine said, to be worked on later.
struct TokenRecord {
  std::size_t prompt = 0;
  std::int64_t choice = 0;
  bool of_prompt = false;  ///< a prompt's log probability, not a new token
  std::int32_t id = -1;
  std::optional<engine::TokenLogprob> own;
  std::vector<engine::TokenLogprob> top;
  engine::FinishReason finish = engine::FinishReason::kNone;
  std::int32_t stop_token_id = -1;
  std::int64_t cached_tokens = 0;
  std::string error;
  bool error_of_request = false;
  double time = 0;
};

/// The text of one choice: tokens in, what the client may see out.
class Choice {
 public:
  /// `prompt` is what the text continues; decoding depends on its last tokens.
  Choice(const JobSpec& spec, const text::Tokenizer& tokenizer, std::span<const std::int32_t> eos_ids,
         std::span<const std::int32_t> prompt);

  /// Takes the next token. After that, done() tells whether the choice has ended.
  void push(TokenRecord&& record);
  bool done() const { return done_; }
  /// True when a stop string ended it, which the engine does not know.
  bool ended_by_text() const { return ended_by_text_; }
  const std::string& finish_reason() const { return finish_reason_; }
  /// Stop string, stop token id, or null.
  const OrderedJson& stop_reason() const { return stop_reason_; }
  std::int64_t completion_tokens() const { return completion_tokens_; }
  double last_time() const { return last_time_; }
  bool any_tool_call() const { return any_tool_call_; }

  /// What has come since the last take().
  struct News {
    ParsedText text;
    std::vector<LogprobEntry> logprobs;
    std::vector<std::int32_t> ids;
    std::int64_t tokens = 0;
    bool empty() const {
      return text.content.empty() && text.reasoning.empty() && text.tool_calls.empty() && logprobs.empty() &&
             ids.empty();
    }
  };
  News take();
  const News& news() const { return news_; }

 private:
  std::string text_of(const TokenRecord& record, bool last);
  void finish(const TokenRecord& record);

  const JobSpec& spec_;
  std::span<const std::int32_t> eos_ids_;
  text::StreamDecoder decoder_;
  generate::StopMatcher matcher_;
  std::unique_ptr<OutputParser> parser_;
  News news_;
  bool done_ = false, ended_by_text_ = false, any_tool_call_ = false;
  std::string finish_reason_;
  OrderedJson stop_reason_;
  std::int64_t completion_tokens_ = 0;
  double last_time_ = 0;
};

}  // namespace awq::server
