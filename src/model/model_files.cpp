#include "model/model_files.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/parallel.h"
#include "file/input_file.h"
#include "model/read_rows.h"
#include "tensor/convert.h"

namespace awq::model {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 4 << 20;

const Architecture& architecture_from(const ConfigReader& in) {
  const std::vector<std::string> names = in.strings("architectures");
  std::string known;
  for (const Architecture* architecture : architectures()) {
    for (const char* name : architecture->names) known += (known.empty() ? "" : ", ") + std::string(name);
  }
  if (names.empty()) {
    fail(ErrorCode::kCorruptFile, "{}: \"architectures\" is missing or empty, expected one of {}", in.file_name(),
         known);
  }
  const Architecture* found = find_architecture(names.front());
  if (found == nullptr) {
    fail(ErrorCode::kUnsupported, "{}: architecture \"{}\" is not supported; supported: {}", in.file_name(),
         printable(names.front()), known);
  }
  return *found;
}

/// Ids that end a text, from both configuration files, each once.
std::vector<std::int32_t> merge_eos(const std::filesystem::path& folder, std::vector<std::int32_t> ids) {
  const std::filesystem::path path = folder / "generation_config.json";
  if (file::is_regular_file(path)) {
    const file::Json json = file::read_json_file(path, {.max_bytes = kMaxConfigBytes});
    if (!json.is_object()) fail(ErrorCode::kCorruptFile, "{}: expected an object", path.string());
    for (const std::int32_t id : ConfigReader(json, path.string()).ids("eos_token_id")) {
      if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
    }
  }
  return ids;
}

ConfigFile read_config(const file::Json& json, const std::string& file_name) {
  if (!json.is_object()) fail(ErrorCode::kCorruptFile, "{}: expected an object", file_name);
  const ConfigReader in(json, file_name);
  ConfigFile out;
  out.architecture = &architecture_from(in);
  out.config = out.architecture->read_config(in);
  out.config.architecture = in.strings("architectures").front();
  return out;
}

}  // namespace

void check_finite(std::span<const float> values, const std::string& tensor, std::uint64_t first) {
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != values.end()) {
    fail(ErrorCode::kCorruptFile, "tensor \"{}\": element {} is {}, expected a finite number; the file is damaged",
         printable(tensor), first + static_cast<std::uint64_t>(bad - values.begin()), *bad);
  }
}

void check_finite(const LinearWeights& weights, const std::string& tensor) {
  if (weights.quantized) return;
  constexpr std::uint64_t kPiece = std::uint64_t{1} << 16;
  const std::uint64_t element_bytes = dtype_bits(weights.dtype) / 8;
  const std::uint64_t count = weights.out_features * weights.in_features;
  const auto pieces = static_cast<std::int64_t>((count + kPiece - 1) / kPiece);
  const auto widen = [&](std::int64_t piece) {
    const std::uint64_t begin = static_cast<std::uint64_t>(piece) * kPiece;
    std::vector<float> values(static_cast<std::size_t>(std::min(kPiece, count - begin)));
    widen_to_float(weights.dtype, {weights.dense.data() + begin * element_bytes, values.size() * element_bytes},
                   values);
    return values;
  };
  std::int64_t bad = pieces;
  ParallelError error;
#pragma omp parallel for schedule(static) reduction(min : bad)
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    error.guard([&] {
      const std::vector<float> values = widen(piece);
      if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
        bad = std::min(bad, piece);
    });
  }
  error.rethrow();
  if (bad < pieces) check_finite(widen(bad), tensor, static_cast<std::uint64_t>(bad) * kPiece);
}

AlignedBuffer<float> LinearWeights::to_floats() const {
  AlignedBuffer<float> out(out_features * in_features);
  const auto rows = static_cast<std::int64_t>(out_features);
  const std::size_t row_bytes = in_features * (dtype_bits(dtype) / 8);
  ParallelError error;
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    error.guard([&] {
      const auto row = static_cast<std::size_t>(n);
      float* to = out.data() + row * in_features;
      if (quantized) {
        quant::dequantize_rows(*quantized, row, row + 1, to);
      } else {
        widen_to_float(dtype, {dense.data() + row * row_bytes, row_bytes}, {to, in_features});
      }
    });
  }
  error.rethrow();
  return out;
}

ops::Linear LinearWeights::into_linear(PageArena* arena) && {
  if (quantized) return ops::Linear(*quantized, std::move(bias), arena);
  return ops::Linear(out_features, in_features, dtype, std::move(dense), std::move(bias));
}

ModelFiles ModelFiles::open(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    fail(ErrorCode::kNotFound, "{}: no such folder; expected a model folder with config.json and safetensors",
         folder.string());
  }
  const std::string config_path = (folder / "config.json").string();
  auto config_json = file::read_json_file<file::OrderedJson>(config_path, {.max_bytes = kMaxConfigBytes});
  const file::Json json = file::read_json_file(config_path, {.max_bytes = kMaxConfigBytes});
  ConfigFile described = read_config(json, config_path);
  described.config.eos_token_ids = merge_eos(folder, described.config.eos_token_ids);
  const formats::Codec* codec = formats::codec_of(json, config_path);

  ModelFiles model(folder, formats::Checkpoint::open(folder));
  model.config_json_ = std::move(config_json);
  model.config_ = std::move(described.config);
  model.architecture_ = described.architecture;
  model.codec_ = codec;
  if (codec != nullptr) model.quantization_ = codec->read_config(json.at("quantization_config"), config_path);
  model.check_tensors();
  return model;
}

ConfigFile read_config_file(const std::filesystem::path& path) {
  return read_config(file::read_json_file(path.string(), {.max_bytes = kMaxConfigBytes}), path.string());
}

std::string ModelFiles::layer_name(std::int64_t layer, const char* inner) const {
  return architecture_->tensors.layer_prefix + std::to_string(layer) + "." + inner;
}

std::string ModelFiles::linear_name(std::int64_t layer, const LinearSpec& linear) const {
  return layer_name(layer, linear.name);
}

bool ModelFiles::is_quantized(const std::string& module) const {
  return codec_ != nullptr && checkpoint_.find(module + "." + codec_->marker_suffix) != nullptr;
}

bool ModelFiles::is_stored(const std::string& module) const {
  return checkpoint_.find(module + ".weight") != nullptr || is_quantized(module);
}

std::string ModelFiles::head_module() const {
  // A head that is there is used, whatever the configuration says about ties: files are often wrong about it.
  const char* head = architecture_->tensors.head;
  return is_stored(head) ? head : architecture_->tensors.embedding;
}

std::string ModelFiles::embedding_module() const {
  const char* embedding = architecture_->tensors.embedding;
  return is_stored(embedding) ? embedding : head_module();
}

DType ModelFiles::dtype() const {
  const std::string module = is_quantized(embedding_module()) ? architecture_->tensors.final_norm : embedding_module();
  return checkpoint_.get(module + ".weight").dtype;
}

formats::QuantizationInfo ModelFiles::info_of(const std::string& module) const {
  return quantization_.of(module, module == architecture_->tensors.embedding ? formats::ModuleClass::kEmbedding
                                                                             : formats::ModuleClass::kLinear);
}

quant::Scheme ModelFiles::scheme_of(const std::string& module) const { return info_of(module).scheme; }

void ModelFiles::check_vector(const std::string& tensor, std::int64_t width) const {
  const auto& found = checkpoint_.get(tensor);
  if (!is_float_weight(found.dtype) || found.shape != std::vector<std::uint64_t>{static_cast<std::uint64_t>(width)}) {
    fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\" is {} {}, expected F32, F16 or BF16 [{}] (config.json)",
         folder_.string(), printable(tensor), dtype_name(found.dtype), formats::shape_string(found.shape), width);
  }
}

void ModelFiles::check_matrix(const std::string& tensor, std::int64_t rows, std::int64_t columns) const {
  const auto& found = checkpoint_.get(tensor);
  const std::vector<std::uint64_t> expected{static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns)};
  if (!is_float_weight(found.dtype) || found.shape != expected) {
    fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\" is {} {}, expected F32, F16 or BF16 [{}, {}] (config.json)",
         folder_.string(), printable(tensor), dtype_name(found.dtype), formats::shape_string(found.shape), rows,
         columns);
  }
}

void ModelFiles::check_tensors() const {
  const TensorNames& names = architecture_->tensors;
  for (const std::string& module : {embedding_module(), head_module()}) {
    if (is_quantized(module)) {
      info_of(module);  // throws
    } else {
      check_matrix(module + ".weight", config_.vocab_size, config_.hidden_size);
    }
  }
  check_vector(std::string(names.final_norm) + ".weight", config_.hidden_size);
  for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    for (const SiteSpec& site : architecture_->sites) {
      if (site.norm != nullptr) check_vector(layer_name(layer, site.norm) + ".weight", config_.hidden_size);
    }
    if (config_.qk_norm) {
      check_vector(layer_name(layer, names.q_norm) + ".weight", config_.head_dim);
      check_vector(layer_name(layer, names.k_norm) + ".weight", config_.head_dim);
    }
    for (const LinearSpec& linear : architecture_->linears) {
      const std::string module = linear_name(layer, linear);
      const LinearShape shape = linear_shape(config_, linear.role);
      if (is_quantized(module)) {
        info_of(module);  // throws
      } else {
        check_matrix(module + ".weight", shape.out_features, shape.in_features);
      }
      if (linear_has_bias(config_, linear.role)) check_vector(module + ".bias", shape.out_features);
      // A bias that nobody would add means that the configuration and the file speak of different models.
      if (!linear_has_bias(config_, linear.role) && checkpoint_.find(module + ".bias") != nullptr) {
        fail(ErrorCode::kCorruptFile,
             "{}: tensor \"{}.bias\" is present, but config.json describes a linear without bias", folder_.string(),
             module);
      }
    }
  }
}

AlignedBuffer<float> ModelFiles::load_vector(const std::string& tensor) const {
  const auto& found = checkpoint_.get(tensor);
  AlignedBuffer<float> out(found.elements());
  checkpoint_.read_floats(found, out.span());
  check_finite(out.span(), tensor);
  return out;
}

LinearWeights ModelFiles::load_linear(const std::string& module, LinearShape shape, bool has_bias) const {
  LinearWeights out;
  out.out_features = static_cast<std::uint64_t>(shape.out_features);
  out.in_features = static_cast<std::uint64_t>(shape.in_features);
  if (has_bias) out.bias = load_vector(module + ".bias");
  if (is_quantized(module)) {
    out.quantized = codec_->decode(checkpoint_, module, info_of(module), out.out_features, out.in_features);
    check_finite(out.quantized->scales.span(), module + " scales");
    return out;
  }
  const auto& tensor = checkpoint_.get(module + ".weight");
  out.dtype = tensor.dtype;
  out.dense = AlignedBuffer<std::byte>(tensor.size_bytes());
  read_rows(checkpoint_, tensor, out.out_features, out.dense.span());
  return out;
}

LayerWeights ModelFiles::load_layer(std::int64_t layer) const {
  LayerWeights out;
  for (const LinearSpec& linear : architecture_->linears) {
    out[linear.role] = load_linear(linear_name(layer, linear), linear_shape(config_, linear.role),
                                   linear_has_bias(config_, linear.role));
  }
  for (const SiteSpec& site : architecture_->sites) {
    if (site.norm == nullptr) continue;
    auto& norm = site.site == Site::kAttentionInput ? out.input_norm : out.mlp_norm;
    norm = load_vector(layer_name(layer, site.norm) + ".weight");
  }
  if (config_.qk_norm) {
    out.q_norm = load_vector(layer_name(layer, architecture_->tensors.q_norm) + ".weight");
    out.k_norm = load_vector(layer_name(layer, architecture_->tensors.k_norm) + ".weight");
  }
  return out;
}

void ModelFiles::embed(std::span<const std::int32_t> ids, float* out) const {
  const auto width = static_cast<std::size_t>(config_.hidden_size);
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= config_.vocab_size) {
      fail(ErrorCode::kCorruptFile, "token id {} is outside the vocabulary of {} (config.json)", id,
           config_.vocab_size);
    }
  }
  if (is_quantized(embedding_module())) {
    // Codes of all rows are unpacked: their zero points may be packed across rows.
    const LinearWeights table = load_linear(embedding_module(), {config_.vocab_size, config_.hidden_size}, false);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto row = static_cast<std::uint64_t>(ids[i]);
      quant::dequantize_rows(*table.quantized, row, row + 1, out + i * width);
    }
    return;
  }
  const auto& tensor = checkpoint_.get(embedding_tensor());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    checkpoint_.read_floats(tensor, {out + i * width, width}, static_cast<std::uint64_t>(ids[i]) * width);
    check_finite({out + i * width, width}, tensor.name);
  }
}

AlignedBuffer<float> ModelFiles::load_final_norm() const {
  return load_vector(std::string(architecture_->tensors.final_norm) + ".weight");
}

LinearWeights ModelFiles::load_head() const {
  return load_linear(head_module(), {config_.vocab_size, config_.hidden_size}, false);
}

LinearWeights ModelFiles::load_embedding() const {
  if (head_module() == embedding_module()) return {};
  return load_linear(embedding_module(), {config_.vocab_size, config_.hidden_size}, false);
}

std::uint64_t ModelFiles::parameter_count() const {
  const auto matrix = [](std::int64_t a, std::int64_t b) {
    return static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b);
  };
  std::uint64_t layer_total = 0;
  for (const LinearSpec& linear : architecture_->linears) {
    const LinearShape shape = linear_shape(config_, linear.role);
    layer_total += matrix(shape.out_features, shape.in_features);
    if (linear_has_bias(config_, linear.role)) layer_total += static_cast<std::uint64_t>(shape.out_features);
  }
  for (const SiteSpec& site : architecture_->sites) {
    if (site.norm != nullptr) layer_total += static_cast<std::uint64_t>(config_.hidden_size);
  }
  if (config_.qk_norm) layer_total += 2 * static_cast<std::uint64_t>(config_.head_dim);
  const std::uint64_t embedding = matrix(config_.vocab_size, config_.hidden_size);
  const bool tied = head_module() == embedding_module();
  return layer_total * static_cast<std::uint64_t>(config_.num_hidden_layers) + embedding * (tied ? 1 : 2) +
         static_cast<std::uint64_t>(config_.hidden_size);
}

}  // namespace awq::model
