#pragma once

#include "server/openai/common_fields.h"

namespace awq::server {

/// A prompt as text, or as token ids when `text` is absent.
struct PromptField {
  std::optional<std::string> text;
  std::vector<std::int32_t> ids;
};

/// POST /v1/completions, checked as far as that goes without a model.
struct CompletionFields {
  CommonFields common;
  std::vector<PromptField> prompts;
  std::int64_t max_tokens = 16;
  bool max_tokens_given = false;
  std::optional<std::int64_t> logprobs;
  bool echo = false;
  bool add_special_tokens = true;
};

CompletionFields read_completion(const OrderedJson& body, const ServeLimits& limits,
                                 const GenerationDefaults& defaults);

}  // namespace awq::server
