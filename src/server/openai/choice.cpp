#include "server/openai/choice.h"

#include <algorithm>
#include <utility>

namespace awq::server {
namespace {

using engine::FinishReason;

// A character has at most four bytes, each of which may be a token, and a decoder looks back at most one token more.
constexpr std::size_t kContextTokens = 8;

const char* reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kRepetition:
      return "repetition";
    case FinishReason::kError:
      return "error";
    case FinishReason::kAbort:
    case FinishReason::kNone:
      break;
  }
  return "abort";
}

/// The last tokens of a prompt, from one on that begins no part of a character.
std::span<const std::int32_t> decoding_context(std::span<const std::int32_t> prompt, const text::Tokenizer& tokenizer) {
  std::size_t count = std::min(prompt.size(), kContextTokens);
  while (count < prompt.size() && tokenizer.decode(prompt.subspan(prompt.size() - count, 1)).starts_with("\uFFFD")) {
    ++count;
  }
  return prompt.last(count);
}

}  // namespace

Choice::Choice(const JobSpec& spec, const text::Tokenizer& tokenizer, std::span<const std::int32_t> eos_ids,
               std::span<const std::int32_t> prompt)
    : spec_(spec), eos_ids_(eos_ids), decoder_(tokenizer, spec.common.skip_special_tokens), matcher_(spec.common.stop) {
  decoder_.skip(decoding_context(prompt, tokenizer));
  if (spec.make_parser) parser_ = spec.make_parser();
}

std::string Choice::text_of(const TokenRecord& record, bool last) {
  std::string text;
  if (record.id >= 0) {
    const bool is_eos = std::find(eos_ids_.begin(), eos_ids_.end(), record.id) != eos_ids_.end();
    const bool ends = record.finish == FinishReason::kStop && (is_eos || record.stop_token_id >= 0);
    if (!ends || spec_.common.include_stop) text = decoder_.push(record.id);
  }
  if (last) text += decoder_.finish();
  // Stop strings are not looked for before min_tokens.
  const bool search = completion_tokens_ > spec_.common.sampling.min_tokens || last;
  std::string shown = search ? matcher_.push(text) : std::move(text);
  if (last) shown += matcher_.finish();
  return shown;
}

void Choice::push(TokenRecord&& record) {
  if (done_) return;  // the engine had gone on before it heard of a stop string
  last_time_ = record.time;
  if (record.id >= 0) {
    ++completion_tokens_;
    ++news_.tokens;
    if (spec_.common.return_token_ids) news_.ids.push_back(record.id);
    if (spec_.logprobs) {
      const bool named = !spec_.common.sampling.logprob_token_ids.empty();
      news_.logprobs.push_back({record.id, record.own, std::move(record.top), named});
    }
  }
  const bool last = record.finish != FinishReason::kNone;
  std::string shown = text_of(record, last);
  if (matcher_.stopped()) {
    if (spec_.common.include_stop) shown += matcher_.matched();
    ended_by_text_ = !last;
  }
  if (parser_) {
    parser_->push(shown, news_.text);
    if (last || matcher_.stopped()) parser_->finish(news_.text);
    any_tool_call_ = any_tool_call_ || !news_.text.tool_calls.empty();
  } else {
    news_.text.content += shown;
  }
  if (last || matcher_.stopped()) finish(record);
}

void Choice::finish(const TokenRecord& record) {
  done_ = true;
  if (matcher_.stopped()) {
    finish_reason_ = "stop";
    stop_reason_ = matcher_.matched();
  } else {
    finish_reason_ = reason_name(record.finish);
    if (record.stop_token_id >= 0) stop_reason_ = record.stop_token_id;
  }
  if (any_tool_call_ && !spec_.named_tool && finish_reason_ == "stop") finish_reason_ = "tool_calls";
}

Choice::News Choice::take() { return std::exchange(news_, {}); }

}  // namespace awq::server
