#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/step_model.h"

namespace awq::engine::test {

/// A model whose logits are a hash of the whole sequence, computed as a chain through the blocks: a block that is lost,
/// shared wrongly or written twice changes every token after it.
class FakeModel : public StepModel {
 public:
  struct Shape {
    std::int64_t vocab = 13, max_model_len = 32, blocks = 16, block_size = 4;
    std::vector<std::int32_t> eos = {0};
  };
  explicit FakeModel(Shape shape)
      : shape_(std::move(shape)), chain_(static_cast<std::size_t>(shape_.blocks * shape_.block_size)) {}

  std::int64_t vocab_size() const override { return shape_.vocab; }
  std::int64_t max_model_len() const override { return shape_.max_model_len; }
  std::span<const std::int32_t> eos_token_ids() const override { return shape_.eos; }
  std::int64_t block_count() const override { return shape_.blocks; }
  std::int64_t block_size() const override { return shape_.block_size; }
  std::uint64_t kv_bytes() const override { return chain_.size() * sizeof(std::uint64_t); }

  static std::uint64_t extend(std::uint64_t chain, std::int32_t id) {
    return mix64(chain * 31 + static_cast<std::uint64_t>(id) + 1);
  }
  static void fill_logits(std::uint64_t chain, std::span<float> logits) {
    for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(uniform(chain, i) * 6 - 3);
  }

  void run(std::span<const std::int32_t> ids, std::span<const model::SequenceSlice> slices) override {
    ++runs;
    if (throw_at_run != 0 && runs == throw_at_run) fail(throw_code, "a fault that a test asked for");
    states_.clear();
    written_.clear();
    std::size_t token = 0;
    for (const model::SequenceSlice& slice : slices) {
      std::uint64_t chain = slice.past > 0 ? at(slice, slice.past - 1) : 0;
      for (std::int64_t p = slice.past; p < slice.past + slice.token_count; ++p) {
        chain = extend(chain, ids[token++]);
        std::uint64_t& place = at(slice, p);
        // Two slices of one step that write the same place would share a block that is not full.
        AWQ_CHECK(written_.insert(&place).second);
        place = chain;
        const bool result = p >= slice.past + slice.token_count - slice.result_count();
        states_.push_back(result ? std::optional(chain) : std::nullopt);
      }
    }
    AWQ_CHECK(token == ids.size());
  }
  std::span<float> logits(std::span<const std::int64_t> tokens) override {
    const auto vocab = static_cast<std::size_t>(shape_.vocab);
    logits_.resize(tokens.size() * vocab);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      fill_logits(states_.at(static_cast<std::size_t>(tokens[i])).value(),
                  std::span(logits_).subspan(i * vocab, vocab));
    }
    return logits_;
  }

  bool greedy(std::span<const std::int64_t> tokens, std::span<std::int32_t> ids) override {
    if (!picks_itself) return false;
    std::vector<float> row(static_cast<std::size_t>(shape_.vocab));
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      fill_logits(states_.at(static_cast<std::size_t>(tokens[i])).value(), row);
      ids[i] = static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    }
    picked += static_cast<std::int64_t>(tokens.size());
    return true;
  }

  bool draw(std::span<const std::int64_t> tokens, std::span<const ops::DrawRule> rules,
            std::span<std::int32_t> ids) override {
    if (!picks_itself) return false;
    ops::Drawer drawer(shape_.vocab);
    std::vector<float> row(static_cast<std::size_t>(shape_.vocab));
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      fill_logits(states_.at(static_cast<std::size_t>(tokens[i])).value(), row);
      ids[i] = drawer.draw(row, rules[i]);
    }
    drawn += static_cast<std::int64_t>(tokens.size());
    return true;
  }

  bool picks_itself = false;  ///< as a device does
  std::int64_t drawn = 0;
  std::int64_t picked = 0;
  std::int64_t runs = 0;
  std::int64_t throw_at_run = 0;  ///< 0: never
  ErrorCode throw_code = ErrorCode::kOutOfMemory;

 private:
  std::uint64_t& at(const model::SequenceSlice& slice, std::int64_t position) {
    const std::int32_t block = slice.blocks[static_cast<std::size_t>(position / shape_.block_size)];
    return chain_.at(static_cast<std::size_t>(block * shape_.block_size + position % shape_.block_size));
  }

  Shape shape_;
  std::vector<std::uint64_t> chain_;
  std::vector<std::optional<std::uint64_t>> states_;  ///< of tokens with results
  std::set<const std::uint64_t*> written_;
  std::vector<float> logits_;
};

/// What a choice gives when nothing else exists: the definition that the engine is held to.
inline std::vector<std::int32_t> run_alone(const FakeModel& model, const Request& request, std::int64_t choice) {
  Sampler sampler(model.vocab_size(), model.eos_token_ids());
  std::vector<std::int32_t> ids = request.prompt;
  std::uint64_t chain = 0;
  for (const std::int32_t id : ids) chain = FakeModel::extend(chain, id);
  std::vector<float> logits(static_cast<std::size_t>(model.vocab_size()));
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  const SamplingParams& params = request.sampling;
  while (static_cast<std::int64_t>(ids.size()) - prompt < params.max_tokens) {
    FakeModel::fill_logits(chain, logits);
    const std::int32_t id =
        sampler.pick(logits, {.params = &params, .ids = ids, .prompt_count = prompt, .choice = choice}).id;
    ids.push_back(id);
    chain = FakeModel::extend(chain, id);
    const bool is_eos = std::count(model.eos_token_ids().begin(), model.eos_token_ids().end(), id) > 0;
    const bool stops = (is_eos && !params.ignore_eos) ||
                       std::count(params.stop_token_ids.begin(), params.stop_token_ids.end(), id) > 0;
    if (stops && static_cast<std::int64_t>(ids.size()) - prompt >= params.min_tokens) break;
  }
  return {ids.begin() + prompt, ids.end()};
}

/// Keeps everything that comes.
struct Recorder : RequestSink {
  struct Choice {
    std::vector<std::int32_t> ids;
    std::vector<float> logprobs;
    FinishReason finish = FinishReason::kNone;
    std::int32_t stop_token_id = -1;
    std::string error;
    std::int64_t cached_tokens = 0;
  };
  std::map<std::int64_t, Choice> choices;
  std::vector<float> prompt_logprobs;
  int started = 0;

  void on_started() override { ++started; }
  void on_prompt_logprob(const PromptLogprob& p) override {
    AWQ_CHECK(p.position == static_cast<std::int64_t>(prompt_logprobs.size()) + 1);
    prompt_logprobs.push_back(p.logprob.logprob);
  }
  void on_token(const TokenEvent& event) override {
    Choice& choice = choices[event.choice];
    AWQ_CHECK(choice.finish == FinishReason::kNone);
    if (event.token_id >= 0) {
      choice.ids.push_back(event.token_id);
      choice.logprobs.push_back(event.logprob.logprob);
    }
    AWQ_CHECK(event.completion_tokens == static_cast<std::int64_t>(choice.ids.size()));
    choice.finish = event.finish;
    choice.stop_token_id = event.stop_token_id;
    choice.error = event.error;
    choice.cached_tokens = event.cached_tokens;
  }
};

/// A recorder that another thread can wait for.
struct Waiter : Recorder {
  explicit Waiter(std::int64_t n = 1) : left(n) {}
  void on_token(const TokenEvent& event) override {
    const std::lock_guard lock(mutex);
    Recorder::on_token(event);
    if (event.finish != FinishReason::kNone && --left == 0) done.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(done.wait_for(lock, std::chrono::seconds(60), [&] { return left == 0; }));
  }
  std::int64_t left;
  std::mutex mutex;
  std::condition_variable done;
};

inline const FakeModel::Shape kShape{.vocab = 20, .max_model_len = 64, .blocks = 64, .block_size = 4};

inline Request request_of(std::uint64_t seed, std::int64_t max_tokens) {
  Request r{.prompt = {1, 2, static_cast<std::int32_t>(seed % 20)}};
  r.sampling.seed = seed;
  r.sampling.max_tokens = max_tokens;
  r.sampling.ignore_eos = true;
  return r;
}

inline std::unique_ptr<Engine> make_engine(EngineOptions options = {}, FakeModel::Shape shape = kShape) {
  options.max_num_seqs = std::min<std::int64_t>(options.max_num_seqs, 8);
  return std::make_unique<Engine>(std::make_unique<FakeModel>(shape), options);
}

}  // namespace awq::engine::test
