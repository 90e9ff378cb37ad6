#include "api/text_model.h"

#include "api/setup.h"
#include "gpu/load.h"
#include "model/language_model.h"

namespace awq::api {

TextModel::TextModel(const model::ModelFiles& files, const GenerateOptions& options, int device) {
  gpu::ModelOptions on_device = gpu::model_options(options.dtype, options.cuda_linear, device >= 0);
  if (device < 0) {
    on_processor_ = std::make_unique<model::LanguageModel>(files, wants_int8_head(options.head));
    return;
  }
  on_device.f32_as = gpu::f32_activation_type(files);
  on_device.kv_dtype = ops::parse_kv_dtype(options.kv_dtype);
  on_device_ = gpu::load_step_model(files, on_device,
                                    {.max_num_seqs = 1,
                                     .max_num_batched_tokens = gpu::kDefaultBatchedTokens,
                                     .memory_utilization = options.gpu_memory_utilization,
                                     .cache_memory_bytes = options.kv_cache_memory_bytes,
                                     .fill_memory = false,
                                     .allow_short = true,
                                     .graphs = gpu::graphs_by_environment()});
}

TextModel::~TextModel() = default;

generate::GenerationResult TextModel::generate(const text::Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                                               const generate::GenerationOptions& options,
                                               const generate::TextCallback& on_text, generate::KeptContext* kept) {
  if (on_device_ == nullptr) return generate::generate(*on_processor_, tokenizer, prompt, options, on_text, kept);
  return generate::generate(*on_device_, tokenizer, prompt, options, on_text, gpu::kDefaultBatchedTokens, kept);
}

}  // namespace awq::api
