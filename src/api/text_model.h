#pragma once

#include <memory>

#include "awq/generator.h"
#include "generate/generation.h"

namespace awq::gpu {
class StepModel;
}

namespace awq::api {

/// A loaded model that continues texts, on the processor or on a device.
class TextModel {
 public:
  /// `device` is what open_device() made of options.device.
  TextModel(const model::ModelFiles& files, const GenerateOptions& options, int device);
  TextModel(const TextModel&) = delete;
  TextModel& operator=(const TextModel&) = delete;
  ~TextModel();
  generate::GenerationResult generate(const text::Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                                      const generate::GenerationOptions& options, const generate::TextCallback& on_text,
                                      generate::KeptContext* kept = nullptr);

 private:
  std::unique_ptr<model::LanguageModel> on_processor_;
  std::unique_ptr<gpu::StepModel> on_device_;
};

}  // namespace awq::api
