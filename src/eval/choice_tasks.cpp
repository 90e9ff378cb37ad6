#include "eval/choice_tasks.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/check.h"
#include "base/stop.h"
#include "eval/layer_stream.h"

namespace awq::eval {
namespace {

/// A context with one continuation, as ids. The last `scored` of `ids` are the continuation.
struct Request {
  std::size_t item = 0, choice = 0;
  std::vector<std::int32_t> ids;
  std::size_t scored = 0;
};

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); }

/// Blanks at the end of the context go to the continuation, and the continuation is what the ids of both together have
/// beyond those of the context alone: so lm-eval does it, and so words keep their boundary.
Request make_request(const ChoiceItem& item, std::size_t choice, const text::Tokenizer& tokenizer,
                     std::int64_t context) {
  const std::size_t end = static_cast<std::size_t>(
      std::find_if_not(item.context.rbegin(), item.context.rend(), is_blank).base() - item.context.begin());
  const std::string head = item.context.substr(0, end);
  const std::string tail = item.context.substr(end) + item.delimiter + item.choices[choice];
  const auto before = tokenizer.encode(head, {.add_special_tokens = true});
  Request request;
  request.choice = choice;
  request.ids = tokenizer.encode(head + tail, {.add_special_tokens = true});
  request.scored = request.ids.size() - std::min(before.size(), request.ids.size());
  // One more than fits: the last token is only predicted.
  const auto longest = static_cast<std::size_t>(context) + 1;
  if (request.ids.size() > longest) {
    request.ids.erase(request.ids.begin(), request.ids.end() - static_cast<std::ptrdiff_t>(longest));
  }
  request.scored = std::min(request.scored, request.ids.size() - std::min<std::size_t>(1, request.ids.size()));
  return request;
}

std::vector<Request> make_requests(const ChoiceTask& task, const text::Tokenizer& tokenizer, std::int64_t context,
                                   std::int64_t vocab_size) {
  std::vector<Request> out;
  for (std::size_t i = 0; i < task.items.size(); ++i) {
    for (std::size_t c = 0; c < task.items[i].choices.size(); ++c) {
      Request request = make_request(task.items[i], c, tokenizer, context);
      request.item = i;
      if (request.scored == 0) {
        fail(ErrorCode::kCorruptFile, "{}: question {}, choice {}: the tokenizer gives it no token of its own",
             task.name, i + 1, c + 1);
      }
      const auto bad = std::find_if(request.ids.begin(), request.ids.end(),
                                    [&](std::int32_t id) { return id < 0 || id >= vocab_size; });
      if (bad != request.ids.end()) {
        fail(ErrorCode::kCorruptFile, "the tokenizer gives id {}, but the model has {} tokens (config.json vocab_size)",
             *bad, vocab_size);
      }
      out.push_back(std::move(request));
    }
  }
  return out;
}

/// Log probability of `target`, and whether it is the most likely.
Likelihood judge(const float* logits, std::int64_t vocab, std::int32_t target) {
  const float* best = std::max_element(logits, logits + vocab);
  double sum = 0;
  for (std::int64_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[v]) - *best);
  return {logits[target] - *best - std::log(sum), best - logits == target};
}

/// Runs some requests through the model and adds what it says of their continuations.
class Turn {
 public:
  Turn(std::span<const Request> requests, const model::WeightSource& model, ops::Precision precision)
      : requests_(requests),
        vocab_(model.config().vocab_size),
        inputs_(inputs_of(requests)),
        stream_(model, inputs_, precision) {}

  LayerStream& stream() { return stream_; }

  void score(std::vector<std::vector<Likelihood>>& out) {
    std::vector<std::int64_t> rows;
    std::vector<std::pair<const Request*, std::int32_t>> targets;
    const auto flush = [&] {
      if (rows.empty()) return;
      stop_flag().throw_if_requested();
      const float* logits = stream_.logits(rows);
      const auto count = static_cast<std::int64_t>(rows.size());
      std::vector<Likelihood> found(rows.size());
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < count; ++i) {
        found[static_cast<std::size_t>(i)] =
            judge(logits + i * vocab_, vocab_, targets[static_cast<std::size_t>(i)].second);
      }
      for (std::size_t i = 0; i < found.size(); ++i) {
        Likelihood& to = out[targets[i].first->item][targets[i].first->choice];
        to.log_probability += found[i].log_probability;
        to.is_greedy = to.is_greedy && found[i].is_greedy;
      }
      rows.clear();
      targets.clear();
    };
    std::int64_t begin = 0;
    for (const Request& request : requests_) {
      const std::size_t length = request.ids.size();
      for (std::size_t i = length - request.scored; i < length; ++i) {
        rows.push_back(begin + static_cast<std::int64_t>(i) - 1);
        targets.emplace_back(&request, request.ids[i]);
        if (static_cast<std::int64_t>(rows.size()) == LayerStream::kHeadRows) flush();
      }
      begin += static_cast<std::int64_t>(length) - 1;
    }
    flush();
  }

 private:
  static std::vector<std::vector<std::int32_t>> inputs_of(std::span<const Request> requests) {
    std::vector<std::vector<std::int32_t>> out;
    for (const Request& request : requests) out.emplace_back(request.ids.begin(), request.ids.end() - 1);
    return out;
  }

  std::span<const Request> requests_;
  std::int64_t vocab_;
  std::vector<std::vector<std::int32_t>> inputs_;
  LayerStream stream_;
};

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Mean of ones and zeros, and its standard error with the sample's variance.
std::pair<double, double> mean_of(const std::vector<bool>& right) {
  const double n = static_cast<double>(right.size());
  const double mean = static_cast<double>(std::count(right.begin(), right.end(), true)) / n;
  return {mean, n > 1 ? std::sqrt(mean * (1 - mean) / (n - 1)) : 0};
}

TaskScore summarize(const ChoiceTask& task, std::vector<std::vector<Likelihood>> likelihoods) {
  TaskScore score;
  score.name = task.name;
  score.items = static_cast<std::int64_t>(task.items.size());
  score.has_norm = task.has_norm;
  std::vector<bool> right, right_norm;
  double nll = 0;
  for (std::size_t i = 0; i < task.items.size(); ++i) {
    const ChoiceItem& item = task.items[i];
    const auto& found = likelihoods[i];
    if (task.is_cloze) {
      right.push_back(found.front().is_greedy);
      nll -= found.front().log_probability;
      continue;
    }
    // The first of equally likely choices wins.
    std::size_t best = 0, best_norm = 0;
    const auto per_character = [&](std::size_t c) {
      const std::size_t leading = item.delimiter.size() - 1;  // blanks that lm-eval counts to the choice
      return found[c].log_probability / static_cast<double>(characters(item.choices[c]) + leading);
    };
    for (std::size_t c = 1; c < found.size(); ++c) {
      if (found[c].log_probability > found[best].log_probability) best = c;
      if (per_character(c) > per_character(best_norm)) best_norm = c;
    }
    right.push_back(best == item.gold);
    right_norm.push_back(best_norm == item.gold);
  }
  std::tie(score.accuracy, score.accuracy_stderr) = mean_of(right);
  if (task.has_norm) std::tie(score.accuracy_norm, score.accuracy_norm_stderr) = mean_of(right_norm);
  if (task.is_cloze) score.perplexity = std::exp(nll / static_cast<double>(task.items.size()));
  score.likelihoods = std::move(likelihoods);
  return score;
}

}  // namespace

TaskScore run_choice_task(const ChoiceTask& task, ResidentModel& model, const text::Tokenizer& tokenizer,
                          const TaskOptions& options) {
  const model::ModelConfig& config = model.config();
  const std::int64_t context = std::min(options.context, config.max_position_embeddings);
  const std::vector<Request> requests = make_requests(task, tokenizer, context, config.vocab_size);
  std::vector<std::vector<Likelihood>> likelihoods;
  for (const ChoiceItem& item : task.items) likelihoods.emplace_back(item.choices.size());
  std::int64_t done = 0;
  for (const Request& request : requests) {
    stop_flag().throw_if_requested();
    model.run(std::span(request.ids).first(request.ids.size() - 1));
    Likelihood& to = likelihoods[request.item][request.choice];
    const auto end = static_cast<std::int64_t>(request.ids.size());
    for (std::int64_t begin = end - static_cast<std::int64_t>(request.scored); begin < end;) {
      const std::int64_t count = std::min(model.most_rows(), end - begin);
      const float* logits = model.logits(begin - 1, count);
      for (std::int64_t i = 0; i < count; ++i) {
        const Likelihood found =
            judge(logits + i * config.vocab_size, config.vocab_size, request.ids[static_cast<std::size_t>(begin + i)]);
        to.log_probability += found.log_probability;
        to.is_greedy = to.is_greedy && found.is_greedy;
      }
      begin += count;
    }
    if (options.on_progress) options.on_progress(++done, static_cast<std::int64_t>(requests.size()));
  }
  return summarize(task, std::move(likelihoods));
}

TaskScore run_choice_task(const ChoiceTask& task, const model::WeightSource& model, const text::Tokenizer& tokenizer,
                          const TaskOptions& options) {
  const model::ModelConfig& config = model.config();
  const std::int64_t context = std::min(options.context, config.max_position_embeddings);
  const std::vector<Request> requests = make_requests(task, tokenizer, context, config.vocab_size);
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(config.hidden_size) * sizeof(float);
  std::vector<std::pair<std::size_t, std::size_t>> turns;
  for (std::size_t begin = 0; begin < requests.size();) {
    std::uint64_t bytes = 0;
    std::size_t end = begin;
    while (end < requests.size() &&
           (end == begin || bytes + requests[end].ids.size() * row_bytes <= options.hidden_bytes)) {
      bytes += requests[end++].ids.size() * row_bytes;
    }
    turns.emplace_back(begin, end);
    begin = end;
  }
  std::vector<std::vector<Likelihood>> likelihoods;
  for (const ChoiceItem& item : task.items) likelihoods.emplace_back(item.choices.size());
  const std::int64_t per_turn = config.num_hidden_layers + 1;
  std::int64_t done = 0;
  const auto advance = [&] {
    ++done;
    if (options.on_progress) options.on_progress(done, per_turn * static_cast<std::int64_t>(turns.size()));
  };
  for (const auto& [begin, end] : turns) {
    Turn turn({requests.data() + begin, end - begin}, model, options.precision);
    for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      turn.stream().run_layer(layer);
      advance();
    }
    turn.stream().prepare_head();
    turn.score(likelihoods);
    advance();
  }
  return summarize(task, std::move(likelihoods));
}

}  // namespace awq::eval
