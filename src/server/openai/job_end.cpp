// How a job ends: what is counted and logged, and the answer's last words.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/resources.h"
#include "server/openai/constraints.h"
#include "server/openai/job.h"

namespace awq::server {

std::optional<ApiError> Job::failure() const {
  const std::lock_guard lock(mutex_);
  switch (cancelled_) {
    case CancelReason::kQueueTimeout:
      return ApiError(503, "the request waited for its turn for too long").set_retry_after(service_.retry_after());
    case CancelReason::kRequestTimeout:
      return ApiError(504, "the request took longer than this server allows");
    case CancelReason::kShutdown:
      return ApiError(503, "the server is stopping").set_retry_after(1);
    case CancelReason::kSlowReader:
      return ApiError(503, "the answer was not read fast enough");
    case CancelReason::kDisconnected:
      return ApiError(503, "the client has gone");
    case CancelReason::kNone:
      break;
  }
  if (error_.empty()) return std::nullopt;
  if (error_of_request_) return too_expensive(error_, spec_.constraint_field);
  log_error(printable(error_, 300));
  return ApiError(500, printable(error_, 300));
}

void Job::finish() {
  const Usage total = usage();
  RequestLog& log = scope_->log();
  log.completion_tokens = total.completion_tokens;
  for (const Slot& slot : slots_) log.finish = slot.choice.finish_reason();
  const std::optional<ApiError> error = failure();
  if (error) {
    const std::lock_guard lock(mutex_);
    log.finish = cancelled_ == CancelReason::kDisconnected ? "disconnected" : "error";
  }
  const double now = monotonic_seconds();
  RequestTimes times{.end_to_end = now - scope_->begin(),
                     .prompt_tokens = total.prompt_tokens,
                     .cached_tokens = std::min(cached_tokens_, total.prompt_tokens),
                     .generation_tokens = total.completion_tokens,
                     .n = spec_.common.n,
                     .max_tokens = spec_.requests.front().sampling.max_tokens};
  {
    const std::lock_guard lock(mutex_);
    if (started_time_ > 0) times.queue = started_time_ - scope_->begin();
    if (first_token_time_ > 0) times.prefill = first_token_time_ - started_time_;
  }
  for (const Slot& slot : slots_)
    times.longest_generation = std::max(times.longest_generation, slot.choice.completion_tokens());
  for (const Slot& slot : slots_) times.decode = std::max(times.decode, slot.choice.last_time() - first_token_time_);
  if (first_token_time_ == 0) times.decode = 0;
  if (!error) service_.metrics().on_request_finished(times);
  const ApiError* problem = error ? &*error : nullptr;
  if (spec_.common.stream) {
    finish_stream(problem);
  } else {
    finish_whole(problem);
  }
}

/// Ends the request with an error of ours, wherever it stands.
void Job::break_off(const ApiError& error) noexcept {
  try {
    std::vector<engine::RequestId> ids;
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(broken_, true)) return;
      ids = ids_;
      records_.clear();
      resting_.reset();
    }
    for (const engine::RequestId id : ids) service_.model().engine->cancel(id);
    scope_->log().finish = "error";
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (!slots_[i].ended) service_.metrics().on_choice_finished("error");
    }
    if (spec_.common.stream) {
      finish_stream(&error);
    } else {
      finish_whole(&error);
    }
  } catch (...) {
    exchange_->finish();  // the connection closes without an answer
  }
}

void Job::finish_stream(const ApiError* error) {
  if (std::exchange(streaming_, false)) service_.metrics().add_stream(-1);
  std::string text;
  if (error != nullptr) {
    service_.metrics().on_limit(error->limit());
    text += format_event(error->body());
  } else if (spec_.common.include_usage) {
    OrderedJson out = envelope(spec_, service_.model().fingerprint);
    out["choices"] = OrderedJson::array();
    out["usage"] = usage_json(usage());
    text += format_event(to_line(out));
  }
  text += format_event("[DONE]");
  exchange_->write(std::move(text));
  exchange_->finish();
}

void Job::finish_whole(const ApiError* error) {
  if (error != nullptr) return scope_->refuse(*exchange_, *error);
  OrderedJson choices = OrderedJson::array();
  const auto n = static_cast<std::size_t>(spec_.common.n);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    slot.whole.logprobs = choice_logprobs(i, std::move(slot.logprobs));
    if (!spec_.echo_texts.empty()) slot.whole.text.insert(0, spec_.echo_texts[i / n]);
    if (spec_.common.prompt_logprobs && !spec_.chat)
      slot.whole.prompt_logprobs = prompt_logprobs(prompt_lists_[i / n], service_.token_texts());
    slot.whole.prompt_ids = spec_.requests[i / n].prompt;
    choices.push_back(spec_.chat ? chat_choice(spec_, slot.whole, slot.choice)
                                 : completion_choice(spec_, slot.whole, slot.choice));
  }
  OrderedJson out = envelope(spec_, service_.model().fingerprint);
  out["choices"] = std::move(choices);
  out["usage"] = usage_json(usage());
  if (spec_.chat && spec_.common.prompt_logprobs)
    out["prompt_logprobs"] = prompt_logprobs(prompt_lists_.front(), service_.token_texts());
  if (spec_.chat && spec_.common.return_token_ids) out["prompt_token_ids"] = spec_.requests.front().prompt;
  scope_->reply(*exchange_, {.body = to_line(out)});
}

}  // namespace awq::server
