// How fast the engine runs CLIENTS requests at once, without HTTP: time to the first token, tokens per second.
//
//   engine_bench MODEL CLIENTS PROMPT_TOKENS NEW_TOKENS [KV_DTYPE] [SPEC_TOKENS] [THREADS]
//
// Every client sends a prompt of its own whose first half all share, as a system prompt is; a second round repeats the
// prompts, so that its time to the first token shows what the prefix cache saves.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/random.h"
#include "base/resources.h"
#include "engine/engine_core.h"
#include "engine/language_step_model.h"
#include "ops/gemm.h"

namespace awq::engine {
namespace {

struct Sink : RequestSink {
  double first = 0;
  void on_token(const TokenEvent& event) override {
    if (event.completion_tokens == 1) first = monotonic_seconds();
  }
};

struct Load {
  std::int64_t clients, prompt_tokens, new_tokens;
};

void run_round(EngineCore& core, const Load& load, std::uint64_t first_id, std::int64_t vocab) {
  std::vector<std::shared_ptr<Sink>> sinks;
  const double begin = monotonic_seconds();
  for (std::int64_t c = 0; c < load.clients; ++c) {
    Request request;
    for (std::int64_t t = 0; t < load.prompt_tokens; ++t) {
      const std::uint64_t text = t < load.prompt_tokens / 2 ? 0 : static_cast<std::uint64_t>(c) + 1;
      request.prompt.push_back(static_cast<std::int32_t>(random_bits(text, static_cast<std::uint64_t>(t)) %
                                                         static_cast<std::uint64_t>(vocab)));
    }
    request.sampling.temperature = 0;
    request.sampling.max_tokens = load.new_tokens;
    request.sampling.ignore_eos = true;
    sinks.push_back(std::make_shared<Sink>());
    core.add(make_request(first_id + static_cast<std::uint64_t>(c), std::move(request), sinks.back()));
  }
  double decode_seconds = 0;
  std::int64_t decode_tokens = 0;
  StepReport report;
  while (!core.idle()) {
    const double step = monotonic_seconds();
    core.step(report);
    if (report.prompt_tokens == 0) {
      decode_seconds += monotonic_seconds() - step;
      decode_tokens += report.new_tokens;
    }
  }
  const double seconds = monotonic_seconds() - begin;
  double last_first = 0, first_first = 1e30;
  for (const auto& sink : sinks) {
    last_first = std::max(last_first, sink->first - begin);
    first_first = std::min(first_first, sink->first - begin);
  }
  std::printf("clients %3ld  first token %.3f to %.3f s  decode %.1f tokens/s  all %.1f new tokens/s\n",
              static_cast<long>(load.clients), first_first, last_first,
              decode_seconds > 0 ? static_cast<double>(decode_tokens) / decode_seconds : 0.0,
              static_cast<double>(load.clients * load.new_tokens) / seconds);
}

int run(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: engine_bench MODEL CLIENTS PROMPT NEW [KV_DTYPE] [SPEC] [THREADS]\n");
    return 2;
  }
  const Load load{std::atol(argv[2]), std::atol(argv[3]), std::atol(argv[4])};
  EngineOptions options;
  if (argc > 5) options.kv_dtype = ops::kv_dtype_of_processor(argv[5]);
  if (argc > 6) options.spec_tokens = std::atol(argv[6]);
  ops::configure_threads(argc > 7 ? std::atoi(argv[7]) : 2);
  options.max_num_seqs = std::max<std::int64_t>(load.clients, 1);
  options.max_model_len = load.prompt_tokens + load.new_tokens;
  model::LanguageModel model(model::ModelFiles::open(argv[1]));
  LanguageStepModel step_model(model, options);
  EngineCore core(step_model, options, {1, 2});
  run_round(core, load, 1, model.config().vocab_size);
  run_round(core, load, 100000, model.config().vocab_size);
  const EngineStats stats = core.stats();
  std::printf("preemptions %lu  prefix cache %lu of %lu tokens  guesses right %lu of %lu\n",
              static_cast<unsigned long>(stats.preemptions), static_cast<unsigned long>(stats.prefix_cache_hits),
              static_cast<unsigned long>(stats.prefix_cache_queries),
              static_cast<unsigned long>(stats.spec_accepted_tokens),
              static_cast<unsigned long>(stats.spec_draft_tokens));
  return 0;
}

}  // namespace
}  // namespace awq::engine

int main(int argc, char** argv) { return awq::engine::run(argc, argv); }
