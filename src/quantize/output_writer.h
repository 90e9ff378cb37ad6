#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "formats/checkpoint_writer.h"
#include "model/model_files.h"
#include "quantize/output_plan.h"

namespace awq::quantize {

/// Writes the files of an output into its staging folder.
class OutputWriter {
 public:
  OutputWriter(std::filesystem::path folder, const model::ModelFiles& files, const OutputPlan& plan, bool resume);

  /// Packed linears, linears that stay, norms and biases of one layer.
  void write_layer(std::int64_t layer, const model::LayerWeights& weights);
  void sync() { writer_.sync(); }
  /// Embedding, head, final norm, and whatever else the input has: copied, or rounded where the plan says so.
  void write_ends_and_others();
  /// Closes the weight files; writes the index and config.json.
  void finish();
  /// Copies tokenizer, generation, chat template and licence files.
  void write_companions();

 private:
  void write_floats(const std::string& name, std::span<const float> values);
  void copy_tensor(const std::string& from, const std::string& to);
  void write_vocabulary(const PlannedVocabulary& matrix);
  static void check_numbers(const formats::Checkpoint::Tensor& tensor, std::span<const std::byte> bytes,
                            std::uint64_t begin);

  std::filesystem::path folder_;
  const model::ModelFiles& files_;
  const OutputPlan& plan_;
  formats::CheckpointWriter writer_;
};

/// Names of the files of a model folder that go to the output as they are: tokenizer, templates, licence; sorted.
std::vector<std::string> companion_names(const std::filesystem::path& model);

/// The text of the input's README.md, or nothing.
std::string original_card(const model::ModelFiles& files);

/// Writes awq_manifest.json: size and SHA-256 of every file of the folder.
void write_manifest(const std::filesystem::path& folder);

}  // namespace awq::quantize
