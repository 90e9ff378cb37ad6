#include "bench/against.h"

#include <omp.h>

#include "base/check.h"
#include "bench/machine.h"
#include "bench/peer_command.h"

namespace awq::bench {
namespace {

void replace_all(std::string& word, const std::string& from, std::int64_t number) {
  const std::string to = std::to_string(number);
  for (std::size_t at = word.find(from); at != std::string::npos; at = word.find(from, at + to.size())) {
    word.replace(at, from.size(), to);
  }
}

}  // namespace

Against::Against(const BenchOptions& options) : options_(options), words_(split_command(options.against)) {
  for (std::string& word : words_) {
    replace_all(word, "{prompt}", options.prompt);
    replace_all(word, "{gen}", options.gen);
    replace_all(word, "{depth}", options.depth);
    replace_all(word, "{threads}", omp_get_max_threads());
  }
}

PeerResult Against::turn(int number) {
  if (options_.on_stage) options_.on_stage(fmt::format("--against, turn {} of {}", number, options_.repetitions));
  const std::string text = run_command(words_, {.seconds = options_.against_seconds});
  return parse_peer_result(text, {.prompt = options_.prompt, .gen = options_.gen, .depth = options_.depth});
}

void Against::first_turn() { turns_.push_back(turn(1)); }

BenchAgainst Against::run(const Measure& measure) {
  AWQ_CHECK(turns_.size() == 1);
  const std::vector<PeerTest> tests = turns_.front().tests;
  std::vector<std::vector<double>> ours(tests.size()), theirs(tests.size()), ratios(tests.size());
  for (int number = 1; number <= options_.repetitions; ++number) {
    if (number > 1) turns_.push_back(turn(number));
    const std::vector<PeerTest>& now = turns_.back().tests;
    for (std::size_t i = 0; i < tests.size(); ++i) {
      if (now.size() != tests.size() || !now[i].same_test(tests[i])) {
        fail(ErrorCode::kCorruptFile, "--against: turn {} of the command measured other tests than the first one",
             number);
      }
      ours[i].push_back(measure(tests[i]));
      theirs[i].push_back(now[i].tokens_per_s);
      ratios[i].push_back(ours[i].back() / theirs[i].back());
    }
  }
  BenchAgainst out{.command = printable(options_.against, 1000),
                   .name = turns_.front().name,
                   .turns = options_.repetitions,
                   .tests = {}};
  for (std::size_t i = 0; i < tests.size(); ++i) {
    out.tests.push_back({.test = tests[i].decode ? "decode" : "prefill",
                         .tokens = tests[i].tokens,
                         .depth = tests[i].depth,
                         .tokens_per_s = median(ours[i]),
                         .peer_tokens_per_s = median(theirs[i]),
                         .ratio = median(ratios[i])});
  }
  return out;
}

}  // namespace awq::bench
