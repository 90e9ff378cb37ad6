#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/step_model.h"
#include "model/model_files.h"
#include "server/openai/chat_format.h"
#include "server/service.h"

namespace awq::server {

/// Throws kInvalidArgument naming the flag.
void check_options(const ServeOptions& options);

engine::EngineOptions engine_options(const ServeOptions& options, bool on_device);

/// The model in memory, behind the engine's step, and what the log and the metrics say of it.
struct LoadedModel {
  std::unique_ptr<engine::StepModel> model;
  engine::EngineOptions options;
  std::uint64_t weight_bytes = 0;  ///< read per token
  std::string runs_on;             ///< instruction set, or device
  std::string kv_type;
  /// Kernels of the layers' linears: in a step of one token, and in one of max_num_batched_tokens.
  std::string decode_kernels, prefill_kernels;
};
/// Loads to the processor, or to device number `device` when that is not negative.
LoadedModel load_model(const ServeOptions& options, const model::ModelFiles& files, int device);

/// Sampling defaults: generation_config.json as --generation-config says, then --override-generation-config.
GenerationDefaults load_defaults(const ServeOptions& options);

/// The model's template or the file that replaces it; null where there is none.
std::unique_ptr<ChatFormat> load_chat_format(const ServeOptions& options, const text::Tokenizer& tokenizer);

/// What requests and model cards need to know of the model, but for the defaults and the chat format.
ServedModel describe_model(const ServeOptions& options, const model::ModelFiles& files,
                           const text::Tokenizer& tokenizer, engine::Engine& engine, const std::string& runs_on);

/// What grammars need to know of the tokens; after `served.chat` is set.
void add_vocabularies(ServedModel& served, const text::Tokenizer& tokenizer);

/// Labels of vllm:cache_config_info, under vLLM's names where it has them.
std::map<std::string, std::string> cache_labels(const ServeOptions& options, const engine::Engine& engine,
                                                const std::string& kv_type);

/// Kernels, instruction set or device, and memory, for the log. What was loaded has its model in `engine` by then.
std::string start_line(const model::ModelFiles& files, const engine::Engine& engine, const LoadedModel& loaded);

}  // namespace awq::server
