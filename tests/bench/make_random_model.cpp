// Writes a checkpoint of random weights in BF16 for a config.json: models of any size to measure time and memory on.
//
//   make_random_model CONFIG.json OUT [SEED]
//
// Weights are normal with the standard deviation that keeps activations near 1; some input channels of every linear
// are larger, as they are in trained models.
#include <cmath>
#include <cstdio>
#include <numbers>
#include <vector>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "file/json.h"
#include "formats/checkpoint_writer.h"
#include "model/architecture.h"

namespace awq {
namespace {

float normal(std::uint64_t seed, std::uint64_t counter) {
  const double u = uniform(seed, 2 * counter) + 0x1p-54;
  return static_cast<float>(std::sqrt(-2 * std::log(u)) *
                            std::cos(2 * std::numbers::pi * uniform(seed, 2 * counter + 1)));
}

void write_tensor(formats::CheckpointWriter& writer, const formats::TensorSpec& spec, std::uint64_t seed) {
  const bool is_matrix = spec.shape.size() == 2;
  const std::uint64_t width = spec.shape.back();
  const float deviation = is_matrix ? 1.0F / std::sqrt(static_cast<float>(width)) : 0.1F;
  const std::uint64_t rows = spec.elements() / width;
  const std::uint64_t rows_per_piece = std::max<std::uint64_t>(1, (8 << 20) / width);
  for (std::uint64_t begin = 0; begin < rows; begin += rows_per_piece) {
    const std::uint64_t count = std::min(rows_per_piece, rows - begin);
    std::vector<Bf16> piece(count * width);
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(piece.size()); ++i) {
      const std::uint64_t at = begin * width + static_cast<std::uint64_t>(i);
      const std::uint64_t column = at % width;
      const float channel = is_matrix && mix64(column) % 64 == 0 ? 4.0F : 1.0F;
      piece[static_cast<std::size_t>(i)] = to_bf16((is_matrix ? 0.0F : 1.0F) + deviation * channel * normal(seed, at));
    }
    writer.write(spec.name, std::as_bytes(std::span(piece)), begin * width * sizeof(Bf16));
  }
}

int run(const std::string& config_path, const std::filesystem::path& out, std::uint64_t seed) {
  const auto ordered = file::read_json_file<file::OrderedJson>(config_path);
  const file::Json json = file::read_json_file(config_path);
  const model::ConfigReader in(json, config_path);
  const model::Architecture* architecture = model::find_architecture(in.strings("architectures").at(0));
  if (architecture == nullptr) fail(ErrorCode::kUnsupported, "{}: unknown architecture", config_path);
  const model::ModelConfig config = architecture->read_config(in);
  const auto u = [](std::int64_t value) { return static_cast<std::uint64_t>(value); };
  std::vector<formats::TensorSpec> specs;
  const auto matrix = [&](const std::string& name, std::int64_t n, std::int64_t k) {
    specs.push_back({name + ".weight", DType::kBf16, {u(n), u(k)}});
  };
  const auto vector = [&](const std::string& name, std::int64_t n) { specs.push_back({name, DType::kBf16, {u(n)}}); };
  matrix(architecture->tensors.embedding, config.vocab_size, config.hidden_size);
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string prefix = architecture->tensors.layer_prefix + std::to_string(layer) + ".";
    for (const model::LinearSpec& linear : architecture->linears) {
      const model::LinearShape shape = model::linear_shape(config, linear.role);
      matrix(prefix + linear.name, shape.out_features, shape.in_features);
      if (model::linear_has_bias(config, linear.role)) vector(prefix + linear.name + ".bias", shape.out_features);
    }
    for (const model::SiteSpec& site : architecture->sites) {
      if (site.norm != nullptr) vector(prefix + site.norm + ".weight", config.hidden_size);
    }
    if (config.qk_norm) {
      vector(prefix + architecture->tensors.q_norm + ".weight", config.head_dim);
      vector(prefix + architecture->tensors.k_norm + ".weight", config.head_dim);
    }
  }
  vector(std::string(architecture->tensors.final_norm) + ".weight", config.hidden_size);
  if (!config.tie_word_embeddings) matrix(architecture->tensors.head, config.vocab_size, config.hidden_size);
  file::make_folder(out);
  const formats::CheckpointPlan plan = formats::plan_checkpoint(specs, 5'000'000'000);
  formats::CheckpointWriter writer(out, plan, false);
  for (std::size_t i = 0; i < specs.size(); ++i) write_tensor(writer, specs[i], mix64(seed) + i);
  writer.close();
  if (const std::string index = plan.index_json(); !index.empty())
    file::write_file_atomically(out / "model.safetensors.index.json", index);
  file::write_file_atomically(out / "config.json", ordered.dump(2) + "\n");
  std::printf("%s: %.2f GB\n", out.c_str(), static_cast<double>(plan.file_bytes) / 1e9);
  return 0;
}

}  // namespace
}  // namespace awq

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: make_random_model CONFIG.json OUT [SEED]\n");
    return 2;
  }
  try {
    return awq::run(argv[1], argv[2], argc > 3 ? std::stoull(argv[3]) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "make_random_model: %s\n", error.what());
    return 3;
  }
}
