#include "cli/commands.h"

namespace awq::cli {

std::span<const Command> commands() {
  static const Command kAll[] = {
      {"quantize", "Quantize a Hugging Face checkpoint", add_quantize, true},
      {"eval", "Measure perplexity, and the distance to a base model", add_eval, true},
      {"compare", "Measure every method of quantizing on one model", add_compare},
      {"run", "Continue a text", add_run, true},
      {"serve", "Serve a model over HTTP, with the OpenAI interface", add_serve, true},
      {"bench", "Measure speed against this machine's limits", add_bench, true},
      {"bench-serve", "Load a server and measure what its clients see", add_bench_serve},
      {"inspect", "Show what is in a checkpoint", add_inspect, true},
  };
  return kAll;
}

}  // namespace awq::cli
