#pragma once

#include "awq/generator.h"
#include "generate/generation.h"

namespace awq::api {

/// The options of the generation loop. Throws kInvalidArgument for one that is out of range.
generate::GenerationOptions generation_options(const GenerateOptions& options);

/// What a caller is told about one generation.
GenerateSummary summarize(const generate::GenerationResult& result, std::size_t prompt_tokens, double load_seconds);

}  // namespace awq::api
