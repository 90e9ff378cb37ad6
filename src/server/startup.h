#pragma once

#include <memory>
#include <string>

#include "model/model_files.h"
#include "server/openai/chat_format.h"
#include "server/service.h"

namespace awq::server {

/// Throws kInvalidArgument naming the flag.
void check_options(const ServeOptions& options);

engine::EngineOptions engine_options(const ServeOptions& options);

/// Sampling defaults: generation_config.json as --generation-config says, then --override-generation-config.
GenerationDefaults load_defaults(const ServeOptions& options);

/// The model's template or the file that replaces it; null where there is none.
std::unique_ptr<ChatFormat> load_chat_format(const ServeOptions& options, const text::Tokenizer& tokenizer);

/// What requests and model cards need to know of the model.
ServedModel describe_model(const ServeOptions& options, const model::ModelFiles& files,
                           const text::Tokenizer& tokenizer, engine::Engine& engine);

/// What grammars need to know of the tokens; after `served.chat` is set.
void add_vocabularies(ServedModel& served, const text::Tokenizer& tokenizer);

/// Kernel, instruction set and memory, for the log.
std::string start_line(const model::ModelFiles& files, const engine::Engine& engine, std::uint64_t weight_bytes);

}  // namespace awq::server
