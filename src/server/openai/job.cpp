#include "server/openai/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/resources.h"

namespace awq::server {
namespace {

// Of a stream at a time: what waits is counted piece by piece.
constexpr std::size_t kPieceBytes = 16 << 10;

std::vector<engine::TokenLogprob> copy(std::span<const engine::TokenLogprob> top) { return {top.begin(), top.end()}; }

}  // namespace

/// Where the engine puts the results of one prompt. Holds the job; the engine lets go of it after the last event.
class Job::Sink final : public engine::RequestSink {
 public:
  Sink(std::shared_ptr<Job> job, std::size_t prompt) : job_(std::move(job)), prompt_(prompt) {}

  // The engine takes no exceptions: what cannot be kept ends this request alone.
  void on_started() override {
    try {
      job_->mark_started(monotonic_seconds());
    } catch (...) {
      job_->lose();
    }
  }
  void on_prompt_logprob(const engine::PromptLogprob& p) override {
    try {
      job_->add(
          {.prompt = prompt_, .of_prompt = true, .id = p.logprob.id, .own = p.logprob, .top = copy(p.top_logprobs)});
    } catch (...) {
      job_->lose();
    }
  }
  void on_token(const engine::TokenEvent& e) override {
    try {
      take(e);
    } catch (...) {
      job_->lose();
    }
  }

 private:
  void take(const engine::TokenEvent& e) {
    TokenRecord record{.prompt = prompt_,
                       .choice = e.choice,
                       .id = e.token_id,
                       .top = copy(e.top_logprobs),
                       .finish = e.finish,
                       .stop_token_id = e.stop_token_id,
                       .cached_tokens = e.cached_tokens,
                       .error = std::string(e.error),
                       .error_of_request = e.error_of_request,
                       .time = monotonic_seconds()};
    if (e.token_id >= 0) record.own = e.logprob;
    job_->add(std::move(record));
  }

  std::shared_ptr<Job> job_;
  std::size_t prompt_;
};

Job::Job(Service& service, JobSpec spec, std::shared_ptr<Exchange> exchange, std::shared_ptr<RequestScope> scope)
    : service_(service), spec_(std::move(spec)), exchange_(std::move(exchange)), scope_(std::move(scope)) {}

void Job::make_slots() {
  slots_.reserve(spec_.requests.size() * static_cast<std::size_t>(spec_.common.n));
  for (const engine::Request& request : spec_.requests) {
    for (std::int64_t i = 0; i < spec_.common.n; ++i)
      slots_.emplace_back(Choice(spec_, *service_.model().tokenizer, service_.model().eos_ids, request.prompt));
    // The first token of a prompt has nothing before it.
    prompt_lists_.push_back({LogprobEntry{.id = request.prompt.front()}});
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].whole.index = static_cast<std::int64_t>(i);
  open_ = slots_.size();
}

void Job::start() {
  if (exchange_->cancelled()) throw ApiError(503, "the request was cancelled before it began");
  const auto self = shared_from_this();
  std::int64_t prompt_tokens = 0;
  std::int64_t all_tokens = 0;
  for (const engine::Request& request : spec_.requests) {
    const auto prompt = static_cast<std::int64_t>(request.prompt.size());
    prompt_tokens += prompt;
    all_tokens += request.n * (prompt + request.sampling.max_tokens);
  }
  scope_->log().prompt_tokens = prompt_tokens;
  // What never fits is no matter of coming again later.
  if (all_tokens > service_.limits().max_queued_tokens) {
    throw ApiError(400,
                   fmt::format("max_tokens: all prompts and choices of the request need {} tokens, expected at most {} "
                               "(--max-queued-tokens)",
                               all_tokens, service_.limits().max_queued_tokens),
                   "max_tokens")
        .set_limit(&ServeLimits::max_queued_tokens);
  }
  make_slots();  // not before it is known that they are worth it
  {
    // Events of the first prompts wait until all prompts are in, or it would not be known whether to answer 429.
    const std::lock_guard lock(mutex_);
    scheduled_ = true;
  }
  for (std::size_t i = 0; i < spec_.requests.size(); ++i) {
    engine::Submission s = service_.model().engine->submit(spec_.requests[i], std::make_shared<Sink>(self, i));
    using Status = engine::Submission::Status;
    if (s.status == Status::kAccepted) {
      const std::lock_guard lock(mutex_);
      ids_.push_back(s.id);
      continue;
    }
    for (const engine::RequestId id : ids_) service_.model().engine->cancel(id);
    if (s.status == Status::kInvalid) throw ApiError(400, s.problem.field + ": " + s.problem.message, s.problem.field);
    if (s.status == Status::kShuttingDown) throw ApiError(503, "the server is stopping").set_retry_after(1);
    throw ApiError(429, "the server has as much work as it takes, try again")
        .set_retry_after(std::max(s.retry_after_seconds, 1.0))
        .set_limit(&ServeLimits::max_queued_tokens);
  }
  scope_->log().status = 200;
  if (spec_.common.stream) {
    exchange_->on_full([weak = weak_from_this()] {
      if (const auto job = weak.lock()) job->pause_or_resume();
    });
    service_.metrics().add_stream(1);
    streaming_ = true;
    HttpReply head{.content_type = "text/event-stream; charset=utf-8"};
    head.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}, {"X-Request-Id", scope_->id()}};
    exchange_->start(std::move(head));
    if (spec_.chat) {
      std::string roles;
      for (std::size_t i = 0; i < slots_.size(); ++i) {
        roles += chunk(chat_role_delta(static_cast<std::int64_t>(i)), 0, spec_.common.return_token_ids && i == 0);
      }
      exchange_->write(std::move(roles));
    }
  }
  exchange_->on_cancel([weak = weak_from_this()](CancelReason reason) {
    if (const auto job = weak.lock()) job->cancel(reason);
  });
  post();
}

/// Has a worker call process(). What that throws (no memory, a check that fails) ends this request and no other.
void Job::post() {
  service_.workers().post([self = shared_from_this()] {
    try {
      self->process();
    } catch (const std::bad_alloc&) {
      self->break_off(ApiError(503, "out of memory for this request").set_retry_after(5));
    } catch (const std::exception& error) {
      log_error(printable(error.what(), 300));
      self->break_off(ApiError(500, "internal error"));
    }
  });
}

void Job::add(TokenRecord record) {
  {
    const std::lock_guard lock(mutex_);
    if (broken_) return;
    records_.push_back(std::move(record));
    if (std::exchange(scheduled_, true)) return;
  }
  post();
}

/// Instead of add() where that failed: a worker ends the request.
void Job::lose() noexcept {
  try {
    {
      const std::lock_guard lock(mutex_);
      lost_ = true;
      if (std::exchange(scheduled_, true)) return;
    }
    post();
  } catch (...) {  // without memory even for this the request ends by its deadline
    return;
  }
}

void Job::mark_started(double time) {
  {
    const std::lock_guard lock(mutex_);
    if (started_time_ == 0) started_time_ = time;
  }
  exchange_->mark_started();
}

void Job::cancel(CancelReason reason) {
  if (reason == CancelReason::kSlowReader) service_.metrics().on_limit(&ServeLimits::max_stream_buffer_bytes);
  std::vector<engine::RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ == CancelReason::kNone) cancelled_ = reason;
    ids = ids_;
  }
  for (const engine::RequestId id : ids) service_.model().engine->cancel(id);
  go_on();
}

/// The engine makes no more than the client reads.
void Job::pause_or_resume() {
  const std::lock_guard one_at_a_time(pause_mutex_);
  const bool full = exchange_->full();
  if (full) service_.metrics().on_limit(&ServeLimits::max_stream_buffer_bytes);
  std::vector<engine::RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    ids = ids_;
  }
  for (const engine::RequestId id : ids) service_.model().engine->set_paused(id, full);
  if (!full) go_on();
}

/// Ends the rest of process(), if it rests.
void Job::go_on() {
  std::shared_ptr<Job> self;
  {
    const std::lock_guard lock(mutex_);
    self = std::exchange(resting_, nullptr);
  }
  if (self) self->post();
}

void Job::process() {
  std::vector<TokenRecord> records;
  {
    const std::lock_guard lock(mutex_);
    if (broken_) return;
    if (lost_) throw std::bad_alloc();
    records.swap(records_);
    if (records.empty()) {
      scheduled_ = false;
      return;
    }
  }
  std::size_t done = 0;
  while (done < records.size() && !exchange_->full()) {
    take_record(records[done++]);
    if (stream_text_.size() >= kPieceBytes) exchange_->write(std::exchange(stream_text_, {}));
  }
  if (!stream_text_.empty()) exchange_->write(std::exchange(stream_text_, {}));
  if (open_ == 0) return finish();
  if (done < records.size()) {
    const std::lock_guard lock(mutex_);
    const auto rest = std::next(records.begin(), static_cast<std::ptrdiff_t>(done));
    records_.insert(records_.begin(), std::make_move_iterator(rest), std::make_move_iterator(records.end()));
    if (exchange_->full()) {  // asked with the lock held: whoever changes it calls go_on() afterwards
      resting_ = shared_from_this();
      return;
    }
  }
  post();  // again through the queue, so that others have their turn
}

void Job::take_record(TokenRecord& record) {
  if (record.of_prompt) return take_prompt_logprob(record);
  const std::size_t index =
      record.prompt * static_cast<std::size_t>(spec_.common.n) + static_cast<std::size_t>(record.choice);
  Slot& slot = slots_[index];
  if (slot.ended) return;
  if (!record.error.empty()) {
    error_ = record.error;
    error_of_request_ = record.error_of_request;
  }
  if (record.choice == 0) cached_tokens_ = std::max(cached_tokens_, record.cached_tokens);
  observe(record, slot.choice);
  slot.choice.push(std::move(record));
  if (slot.choice.ended_by_text()) {
    engine::RequestId id = 0;
    {
      const std::lock_guard lock(mutex_);
      id = ids_[record.prompt];
    }
    service_.model().engine->cancel(id, record.choice);
  }
  if (spec_.common.stream) {
    ++slot.unsent;
    const bool due =
        slot.unsent >= spec_.common.stream_interval && (!slot.choice.news().empty() || spec_.common.continuous_usage);
    if (due || slot.choice.done()) send_chunk(index, slot.choice.done());
  } else {
    Choice::News news = slot.choice.take();
    slot.whole.text += news.text.content;
    slot.whole.reasoning += news.text.reasoning;
    for (ParsedText::ToolCall& call : news.text.tool_calls) {
      auto found = std::find_if(slot.whole.tool_calls.begin(), slot.whole.tool_calls.end(),
                                [&](const ParsedText::ToolCall& c) { return c.index == call.index; });
      if (found == slot.whole.tool_calls.end()) {
        slot.whole.tool_calls.push_back(std::move(call));
      } else {
        found->arguments += call.arguments;
      }
    }
    std::move(news.logprobs.begin(), news.logprobs.end(), std::back_inserter(slot.logprobs));
    slot.whole.ids.insert(slot.whole.ids.end(), news.ids.begin(), news.ids.end());
  }
  if (slot.choice.done()) end_choice(index);
}

void Job::take_prompt_logprob(TokenRecord& record) {
  prompt_lists_[record.prompt].push_back({record.id, record.own, std::move(record.top)});
}

void Job::observe(const TokenRecord& record, const Choice& choice) {
  if (record.id < 0) return;
  if (choice.completion_tokens() > 0) {
    service_.metrics().on_next_token(record.time - choice.last_time());
  } else if (first_token_time_ == 0) {
    first_token_time_ = record.time;
    scope_->log().first_token_seconds = record.time - scope_->begin();
    service_.metrics().on_first_token(record.time - scope_->begin());
  }
}

OrderedJson Job::choice_logprobs(std::size_t index, std::vector<LogprobEntry> entries) {
  if (!spec_.logprobs) return nullptr;
  Slot& slot = slots_[index];
  const TokenTexts& texts = service_.token_texts();
  if (spec_.chat) return chat_logprobs(entries, *spec_.logprobs, texts, spec_.common.tokens_as_ids);
  if (spec_.echo_logprobs && !slot.echo_sent) {
    const std::vector<LogprobEntry>& prompt = prompt_lists_[index / static_cast<std::size_t>(spec_.common.n)];
    entries.insert(entries.begin(), prompt.begin(), prompt.end());
  }
  return completion_logprobs(entries, *spec_.logprobs, texts, spec_.common.tokens_as_ids, slot.offset);
}

std::string Job::chunk(OrderedJson choice_json, std::int64_t completion_tokens, bool prompt_ids) const {
  OrderedJson out = envelope(spec_, service_.model().fingerprint);
  out["choices"] = OrderedJson::array({std::move(choice_json)});
  if (prompt_ids) out["prompt_token_ids"] = spec_.requests.front().prompt;
  if (spec_.common.continuous_usage) {
    Usage so_far = usage();
    so_far.completion_tokens = completion_tokens;
    out["usage"] = usage_json(so_far);
  }
  return format_event(to_line(out));
}

void Job::send_chunk(std::size_t index, bool last) {
  Slot& slot = slots_[index];
  slot.unsent = 0;
  Choice::News news = slot.choice.take();
  OrderedJson logprobs = choice_logprobs(index, std::move(news.logprobs));
  if (!slot.echo_sent && !spec_.echo_texts.empty())
    news.text.content.insert(0, spec_.echo_texts[index / static_cast<std::size_t>(spec_.common.n)]);
  const bool first = !std::exchange(slot.echo_sent, true);
  const auto number = static_cast<std::int64_t>(index);
  OrderedJson json = spec_.chat ? chat_delta(spec_, number, slot.choice, news, std::move(logprobs), last)
                                : completion_delta(spec_, number, slot.choice, news, std::move(logprobs), last);
  if (first && !spec_.chat && spec_.common.return_token_ids)
    json["prompt_token_ids"] = spec_.requests[index / static_cast<std::size_t>(spec_.common.n)].prompt;
  stream_text_ += chunk(std::move(json), slot.choice.completion_tokens());
}

void Job::end_choice(std::size_t index) {
  Slot& slot = slots_[index];
  slot.ended = true;
  --open_;
  service_.metrics().on_choice_finished(slot.choice.finish_reason());
}

Usage Job::usage() const {
  Usage out;
  for (const engine::Request& request : spec_.requests)
    out.prompt_tokens += static_cast<std::int64_t>(request.prompt.size());
  for (const Slot& slot : slots_) out.completion_tokens += slot.choice.completion_tokens();
  if (service_.options().prompt_tokens_details) out.cached_tokens = cached_tokens_;
  return out;
}

}  // namespace awq::server
