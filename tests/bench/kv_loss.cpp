// What 16-bit and 8-bit keys and values cost: mean NLL and KL divergence to binary32, in nats per token.
//
//   kv_loss MODEL TEXT [WINDOWS]
//
// The text is cut into windows of the context without overlap, each one a request whose prompt logprobs are compared.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/engine_core.h"
#include "engine/language_step_model.h"
#include "file/input_file.h"
#include "text/tokenizer.h"

namespace awq::engine {
namespace {

/// Log probabilities of the whole vocabulary at every position of a window.
struct Sink : RequestSink {
  std::vector<std::vector<float>> rows;
  double nll = 0;
  void on_token(const TokenEvent&) override {}
  void on_prompt_logprob(const PromptLogprob& p) override {
    nll -= p.logprob.logprob;
    std::vector<float> row(p.top_logprobs.size());
    for (const TokenLogprob& t : p.top_logprobs) row[static_cast<std::size_t>(t.id)] = t.logprob;
    rows.push_back(std::move(row));
  }
};

std::shared_ptr<Sink> measure(model::LanguageModel& model, ops::KvDtype dtype, const std::vector<std::int32_t>& ids) {
  EngineOptions options;
  options.kv_dtype = dtype;
  options.max_num_seqs = 1;
  LanguageStepModel step_model(model, options);
  EngineCore core(step_model, options, {1, 2});
  const auto sink = std::make_shared<Sink>();
  Request request{.prompt = ids};
  request.sampling.max_tokens = 0;
  request.sampling.prompt_logprobs = -1;
  core.add(make_request(1, std::move(request), sink));
  StepReport report;
  while (!core.idle()) core.step(report);
  return sink;
}

int run(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: kv_loss MODEL TEXT [WINDOWS]\n");
    return 2;
  }
  const std::size_t windows = argc > 3 ? static_cast<std::size_t>(std::atol(argv[3])) : 8;
  model::LanguageModel model(model::ModelFiles::open(argv[1]));
  const auto tokenizer = text::Tokenizer::load(argv[1]);
  const std::vector<std::int32_t> ids = tokenizer->encode(file::read_text_file(argv[2], 1 << 24), {});
  const auto context = static_cast<std::size_t>(cached_context(model.config()));
  constexpr ops::KvDtype kDtypes[] = {ops::KvDtype::kF32, ops::KvDtype::kF16, ops::KvDtype::kBf16, ops::KvDtype::kInt8,
                                      ops::KvDtype::kFp8};
  constexpr std::size_t kCount = std::size(kDtypes);
  double nll[kCount] = {}, kl[kCount] = {}, tokens = 0;
  for (std::size_t w = 0; w < windows && (w + 1) * context <= ids.size(); ++w) {
    const std::vector<std::int32_t> window(ids.begin() + static_cast<std::ptrdiff_t>(w * context),
                                           ids.begin() + static_cast<std::ptrdiff_t>((w + 1) * context));
    std::shared_ptr<Sink> base;
    for (std::size_t d = 0; d < kCount; ++d) {
      const std::shared_ptr<Sink> got = measure(model, kDtypes[d], window);
      if (d == 0) base = got;
      nll[d] += got->nll;
      for (std::size_t r = 0; r < got->rows.size(); ++r) {
        for (std::size_t i = 0; i < got->rows[r].size(); ++i) {
          const double p = base->rows[r][i];
          kl[d] += std::exp(p) * (p - got->rows[r][i]);
        }
      }
    }
    tokens += static_cast<double>(base->rows.size());
  }
  for (std::size_t d = 0; d < kCount; ++d) {
    std::printf("%-5s tokens %.0f  nll %.6f  kl %.3e\n", ops::kv_dtype_name(kDtypes[d]), tokens, nll[d] / tokens,
                kl[d] / tokens);
  }
  return 0;
}

}  // namespace
}  // namespace awq::engine

int main(int argc, char** argv) { return awq::engine::run(argc, argv); }
