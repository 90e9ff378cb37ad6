#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "server/openai/bodies.h"
#include "server/service.h"

namespace awq::server {

/// Runs one request on the engine and writes its answer. The engine's thread only puts copies of its events into a
/// list; a worker, one at a time, turns them into text. Keeps itself alive until the last choice has ended.
class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(Service& service, JobSpec spec, std::shared_ptr<Exchange> exchange, std::shared_ptr<RequestScope> scope);

  /// Hands the requests to the engine. Throws ApiError when it does not take them.
  void start();

 private:
  class Sink;

  void make_slots();

  // Any thread.
  void add(TokenRecord record);
  void mark_started(double time);
  void cancel(CancelReason reason);
  void pause_or_resume();
  void go_on();
  void post();
  void lose() noexcept;

  // On a worker, one at a time.
  void process();
  void break_off(const ApiError& error) noexcept;
  void take_record(TokenRecord& record);
  void take_prompt_logprob(TokenRecord& record);
  void observe(const TokenRecord& record, const Choice& choice);
  void send_chunk(std::size_t index, bool last);
  std::string chunk(OrderedJson choice_json, std::int64_t completion_tokens, bool prompt_ids = false) const;
  void end_choice(std::size_t index);
  void finish();
  void finish_stream(const ApiError* error);
  void finish_whole(const ApiError* error);
  std::optional<ApiError> failure() const;
  OrderedJson choice_logprobs(std::size_t index, std::vector<LogprobEntry> entries);
  Usage usage() const;

  struct Slot {
    explicit Slot(Choice text) : choice(std::move(text)) {}
    Choice choice;
    WholeChoice whole;                   ///< grows while not streaming
    std::vector<LogprobEntry> logprobs;  ///< the same
    std::int64_t offset = 0;             ///< text_offset of the next token
    std::int64_t unsent = 0;             ///< tokens since the last chunk
    bool echo_sent = false, ended = false;
  };

  Service& service_;
  const JobSpec spec_;
  const std::shared_ptr<Exchange> exchange_;
  const std::shared_ptr<RequestScope> scope_;
  std::vector<Slot> slots_;                              ///< prompt * n + choice
  std::vector<std::vector<LogprobEntry>> prompt_lists_;  ///< per prompt
  std::size_t open_ = 0;
  std::int64_t cached_tokens_ = 0;
  std::string stream_text_;  ///< of this round
  std::string error_;
  bool error_of_request_ = false;
  bool streaming_ = false;  ///< counted among the open streams
  double first_token_time_ = 0;

  mutable std::mutex mutex_;  ///< guards what follows
  std::vector<engine::RequestId> ids_;
  std::vector<TokenRecord> records_;
  bool scheduled_ = false;
  bool lost_ = false;    ///< an event that there was no memory for
  bool broken_ = false;  ///< answered with an error of ours; nothing more is done
  /// This object while process() has stopped because the client does not read: the engine, which held it, lets go after
  /// the last event.
  std::shared_ptr<Job> resting_;
  double started_time_ = 0;
  CancelReason cancelled_ = CancelReason::kNone;

  std::mutex pause_mutex_;  ///< of the question whether the client reads together with what the engine is told
};

}  // namespace awq::server
