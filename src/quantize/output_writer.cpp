#include "quantize/output_writer.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/stop.h"
#include "file/input_file.h"
#include "file/output_file.h"
#include "file/sha256.h"
#include "quant/group_quant.h"
#include "quantize/staging.h"
#include "tensor/convert.h"

namespace awq::quantize {
namespace {

constexpr std::uint64_t kMaxCardBytes = 4 << 20;
// Files that belong to a model and not to its weights.
constexpr const char* kCompanions[] = {"tokenizer*",        "special_tokens_map.json",
                                       "added_tokens.json", "vocab.*",
                                       "merges.txt",        "generation_config.json",
                                       "chat_template*",    "*.jinja",
                                       "LICENSE*",          "LICENCE*",
                                       "NOTICE*",           "USE_POLICY*"};

bool is_companion(const std::string& name) {
  return std::any_of(std::begin(kCompanions), std::end(kCompanions),
                     [&](const char* pattern) { return fnmatch(pattern, name.c_str(), 0) == 0; });
}

}  // namespace

OutputWriter::OutputWriter(std::filesystem::path folder, const model::ModelFiles& files, const OutputPlan& plan,
                           bool resume)
    : folder_(std::move(folder)), files_(files), plan_(plan), writer_(folder_, plan.checkpoint, resume) {}

void OutputWriter::write_floats(const std::string& name, std::span<const float> values) {
  // Norms and biases keep the type that they had.
  const DType dtype = files_.checkpoint().get(name).dtype;
  std::vector<std::byte> bytes(values.size() * (dtype_bits(dtype) / 8));
  narrow_from_float(dtype, values, bytes);
  writer_.write(name, bytes);
}

void OutputWriter::write_layer(std::int64_t layer, const model::LayerWeights& weights) {
  for (const PlannedLinear& linear : plan_.linears) {
    if (linear.layer != layer) continue;
    const model::LinearWeights& w = weights[linear.spec->role];
    if (!w.bias.empty()) write_floats(linear.module + ".bias", w.bias.span());
    if (!w.quantized) {
      writer_.write(linear.module + ".weight", w.dense.span());
      continue;
    }
    for (const formats::EncodedTensor& tensor : plan_.codec->encode(*w.quantized)) {
      writer_.write(linear.module + "." + tensor.suffix, tensor.bytes);
    }
  }
  for (const model::SiteSpec& site : files_.architecture().sites) {
    if (site.norm == nullptr) continue;
    const auto& norm = site.site == model::Site::kAttentionInput ? weights.input_norm : weights.mlp_norm;
    write_floats(files_.layer_name(layer, site.norm) + ".weight", norm.span());
  }
  if (files_.config().qk_norm) {
    write_floats(files_.layer_name(layer, files_.architecture().tensors.q_norm) + ".weight", weights.q_norm.span());
    write_floats(files_.layer_name(layer, files_.architecture().tensors.k_norm) + ".weight", weights.k_norm.span());
  }
}

void OutputWriter::copy_tensor(const std::string& from, const std::string& to) {
  constexpr std::uint64_t kPiece = 8 << 20;
  const auto& tensor = files_.checkpoint().get(from);
  // The tensors at both ends of the model; what others hold is not our business.
  const auto& names = files_.architecture().tensors;
  const bool checked = to == std::string(names.embedding) + ".weight" || to == std::string(names.head) + ".weight" ||
                       to == std::string(names.final_norm) + ".weight";
  const std::uint64_t size = tensor.size_bytes();
  std::vector<std::byte> piece(static_cast<std::size_t>(std::min(kPiece, size)));
  for (std::uint64_t at = 0; at < size; at += kPiece) {
    stop_flag().throw_if_requested();
    const std::span<std::byte> part(piece.data(), static_cast<std::size_t>(std::min(kPiece, size - at)));
    files_.checkpoint().read(tensor, part, at);
    if (checked) check_numbers(tensor, part, at);
    writer_.write(to, part, at);
  }
}

void OutputWriter::check_numbers(const formats::Checkpoint::Tensor& tensor, std::span<const std::byte> bytes,
                                 std::uint64_t begin) {
  const std::uint64_t element_bytes = dtype_bits(tensor.dtype) / 8;
  std::vector<float> values(static_cast<std::size_t>(bytes.size() / element_bytes));
  widen_to_float(tensor.dtype, bytes, values);
  model::check_finite(values, tensor.name, begin / element_bytes);
}

void OutputWriter::write_vocabulary(const PlannedVocabulary& matrix) {
  constexpr std::uint64_t kRows = 512;
  const auto& stored = files_.checkpoint().get(matrix.from);
  const auto rows = static_cast<std::uint64_t>(files_.config().vocab_size);
  const auto width = static_cast<std::uint64_t>(files_.config().hidden_size);
  quant::QuantizedTensor whole = quant::make_tensor(rows, width, matrix.scheme, matrix.scale_dtype);
  AlignedBuffer<float> values(static_cast<std::size_t>(std::min(kRows, rows) * width));
  for (std::uint64_t row = 0; row < rows; row += kRows) {
    stop_flag().throw_if_requested();
    const std::uint64_t count = std::min(kRows, rows - row);
    const std::span<float> part = values.span().first(static_cast<std::size_t>(count * width));
    files_.checkpoint().read_floats(stored, part, row * width);
    model::check_finite(part, matrix.from, row * width);
    const quant::QuantizedTensor rounded =
        quant::round_to_nearest(values.data(), count, width, matrix.scheme, matrix.scale_dtype);
    std::copy(rounded.codes.begin(), rounded.codes.end(), whole.codes.begin() + row * width);
    std::copy(rounded.scales.begin(), rounded.scales.end(), whole.scales.begin() + row * whole.groups());
    std::copy(rounded.zero_points.begin(), rounded.zero_points.end(), whole.zero_points.begin() + row * whole.groups());
  }
  quant::check_scales(whole, matrix.module.c_str());
  for (const formats::EncodedTensor& tensor : plan_.codec->encode(whole))
    writer_.write(matrix.module + "." + tensor.suffix, tensor.bytes);
}

void OutputWriter::write_ends_and_others() {
  for (const PlannedVocabulary& matrix : plan_.vocabulary) write_vocabulary(matrix);
  for (const CopiedTensor& tensor : plan_.copied) copy_tensor(tensor.from, tensor.to);
  // Tensors inside the layers that no part of the description names (old rotary buffers).
  std::map<std::string, bool> described;
  for (const PlannedLinear& linear : plan_.linears) described[linear.module] = true;
  for (std::int64_t layer = 0; layer < files_.config().num_hidden_layers; ++layer) {
    for (const model::SiteSpec& site : files_.architecture().sites) {
      if (site.norm != nullptr) described[files_.layer_name(layer, site.norm)] = true;
    }
    described[files_.layer_name(layer, files_.architecture().tensors.q_norm)] = true;
    described[files_.layer_name(layer, files_.architecture().tensors.k_norm)] = true;
  }
  for (const auto& tensor : files_.checkpoint().tensors()) {
    const std::size_t dot = tensor.name.rfind('.');
    if (!tensor.name.starts_with(files_.architecture().tensors.layer_prefix) || dot == std::string::npos) continue;
    if (!described.contains(tensor.name.substr(0, dot))) copy_tensor(tensor.name, tensor.name);
  }
}

void OutputWriter::finish() {
  writer_.close();
  if (const std::string index = plan_.checkpoint.index_json(); !index.empty()) {
    file::write_file_atomically(folder_ / "model.safetensors.index.json", index);
  }
  file::OrderedJson config = files_.config_json();
  // Loaders believe this flag and not the file: where both contradict each other, the flag is what was wrong.
  const bool tied = !plan_.has_own_head(files_);
  if (tied != files_.config().tie_word_embeddings) config["tie_word_embeddings"] = tied;
  config["quantization_config"] = plan_.codec->write_config(plan_.summary(files_));
  file::write_file_atomically(folder_ / "config.json", config.dump(2) + "\n");
}

std::vector<std::string> companion_names(const std::filesystem::path& model) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(model)) {
    const std::string name = entry.path().filename().string();
    if (is_companion(name) && file::is_regular_file(entry.path())) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void OutputWriter::write_companions() {
  for (const std::string& name : companion_names(files_.folder()))
    file::copy_file(files_.folder() / name, folder_ / name);
}

std::string original_card(const model::ModelFiles& files) {
  const std::filesystem::path path = files.folder() / "README.md";
  return file::is_regular_file(path) ? file::read_text_file(path, kMaxCardBytes) : "";
}

void write_manifest(const std::filesystem::path& folder) {
  std::map<std::string, file::OrderedJson> rows;  // sorted, whatever order the folder lists them in
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    // The manifest itself, what differs from run to run, and what an interrupted write of either left behind.
    if (name.starts_with(kManifest) || name.starts_with(kRun)) continue;
    rows[name] = {{"size_bytes", std::filesystem::file_size(entry.path())},
                  {"sha256", file::sha256_file(entry.path())}};
  }
  file::OrderedJson manifest;
  manifest["files"] = rows;
  file::write_file_atomically(folder / kManifest, manifest.dump(2) + "\n");
}

}  // namespace awq::quantize
