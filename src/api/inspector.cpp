#include "awq/inspector.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "awq/error.h"
#include "model/model_files.h"
#include "text/tokenizer.h"

namespace awq {
namespace {

using model::ModelFiles;

/// Which part of the model a tensor belongs to.
std::string part_of(const ModelFiles& files, const std::string& name) {
  const auto& names = files.architecture().tensors;
  if (name.starts_with(std::string(names.embedding) + ".")) return "embedding";
  if (name.starts_with(std::string(names.head) + ".")) return "head";
  if (!name.starts_with(names.layer_prefix)) return "other";
  for (const model::LinearSpec& linear : files.architecture().linears) {
    const std::string inner = std::string(".") + linear.name + ".";
    const std::size_t at = name.find(inner);
    if (at == std::string::npos) continue;
    const std::string module = name.substr(0, at + inner.size() - 1);
    return files.is_quantized(module) ? "linears, quantized" : "linears, 16 or 32 bit";
  }
  return "norms";
}

void read_everything(const ModelFiles& files, std::vector<std::string>& problems) {
  const auto attempt = [&](const auto& work) {
    try {
      work();
    } catch (const Error& error) {
      problems.emplace_back(error.what());
    }
  };
  for (std::int64_t layer = 0; layer < files.config().num_hidden_layers; ++layer) {
    attempt([&] {
      const model::LayerWeights weights = files.load_layer(layer);
      for (const model::LinearSpec& linear : files.architecture().linears) {
        attempt(
            [&] { model::check_finite(weights[linear.role].to_floats().span(), files.linear_name(layer, linear)); });
      }
    });
  }
  attempt([&] { model::check_finite(files.load_final_norm().span(), files.architecture().tensors.final_norm); });
  attempt([&] { model::check_finite(files.load_head().to_floats().span(), files.head_module()); });
  if (files.head_module() == files.embedding_module()) return;
  attempt([&] { model::check_finite(files.load_embedding().to_floats().span(), files.embedding_module()); });
}

std::vector<SchemeSummary> schemes_of(const ModelFiles& files) {
  std::vector<SchemeSummary> linears, out;
  const auto add = [&](std::vector<SchemeSummary>& to, const char* part, const std::string& module) {
    if (!files.is_quantized(module)) return;
    const quant::Scheme s = files.scheme_of(module);
    const auto same = std::find_if(to.begin(), to.end(), [&](const SchemeSummary& row) {
      return row.bits == s.bits && row.group_size == s.group_size && row.symmetric == s.symmetric;
    });
    if (same != to.end()) {
      ++same->modules;
    } else {
      to.push_back({part, s.bits, s.group_size, s.symmetric, 1});
    }
  };
  for (std::int64_t layer = 0; layer < files.config().num_hidden_layers; ++layer) {
    for (const model::LinearSpec& linear : files.architecture().linears)
      add(linears, "linears", files.linear_name(layer, linear));
  }
  std::stable_sort(linears.begin(), linears.end(),
                   [](const SchemeSummary& a, const SchemeSummary& b) { return a.modules > b.modules; });
  const bool tied = files.head_module() == files.embedding_module();
  std::vector<SchemeSummary> embedding, head;
  add(embedding, tied ? "embedding and head" : "embedding", files.embedding_module());
  if (!tied) add(head, "head", files.head_module());
  for (const auto* rows : {&linears, &embedding, &head}) out.insert(out.end(), rows->begin(), rows->end());
  return out;
}

void check_tokenizer(const ModelFiles& files, std::vector<std::string>& problems) {
  try {
    const auto tokenizer = text::Tokenizer::load(files.folder());
    if (tokenizer->vocab_size() > files.config().vocab_size) {
      problems.push_back(fmt::format("the tokenizer has ids up to {}, the model's vocab_size is {}",
                                     tokenizer->vocab_size() - 1, files.config().vocab_size));
    }
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
}

}  // namespace

InspectSummary inspect_model(const std::filesystem::path& model, bool deep) {
  const ModelFiles files = ModelFiles::open(model);
  InspectSummary out;
  out.architecture = files.config().architecture;
  out.parameters = files.parameter_count();
  out.layers = files.config().num_hidden_layers;
  if (files.codec() != nullptr) {
    out.format = files.codec()->name;
    const quant::Scheme& s = files.quantization().scheme;
    out.bits = s.bits;
    out.group_size = s.group_size;
    out.symmetric = s.symmetric;
    out.schemes = schemes_of(files);
    if (!out.schemes.empty() && out.schemes.front().part == "linears") {
      out.bits = out.schemes.front().bits;
      out.group_size = out.schemes.front().group_size;
      out.symmetric = out.schemes.front().symmetric;
    }
  }
  std::map<std::string, PartSummary> parts;
  for (const auto& tensor : files.checkpoint().tensors()) {
    PartSummary& part = parts[part_of(files, tensor.name)];
    ++part.tensors;
    part.bytes += tensor.size_bytes();
    out.tensor_bytes += tensor.size_bytes();
    out.tensors.push_back({tensor.name, std::string(dtype_name(tensor.dtype)), tensor.shape, tensor.size_bytes(),
                           files.checkpoint().files()[tensor.file].path().filename().string()});
  }
  for (auto& [name, part] : parts) {
    part.name = name;
    out.parts.push_back(part);
  }
  out.bits_per_weight = 8.0 * static_cast<double>(out.tensor_bytes) / static_cast<double>(out.parameters);
  for (std::int64_t layer = 0; layer < out.layers; ++layer) {
    for (const model::LinearSpec& linear : files.architecture().linears) {
      ++out.linears;
      if (files.is_quantized(files.linear_name(layer, linear))) ++out.quantized_linears;
    }
  }
  if (files.codec() != nullptr && out.quantized_linears == 0) {
    out.problems.push_back("config.json has a quantization_config, but no linear is quantized");
  }
  check_tokenizer(files, out.problems);
  if (deep) read_everything(files, out.problems);
  return out;
}

}  // namespace awq
