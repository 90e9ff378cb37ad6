#include "quantize/output_plan.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>
#include <span>

#include "base/check.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;

/// FP8 weights have a scale per output channel, or per block of 128 x 128 where the format wants that.
quant::Scheme float8_scheme(const QuantizeOptions& options) {
  if (options.bits != 4 && options.bits != 8) {  // 4 is the default of other methods
    fail(ErrorCode::kInvalidArgument, "--bits {} with --method fp8: its weights have 8 bits", options.bits);
  }
  const bool blocks = options.format == "fp8";
  return {.bits = 8,
          .group_size = blocks ? 128 : -1,
          .symmetric = true,
          .kind = quant::CodeKind::kE4M3,
          .rows_per_scale = blocks ? 128 : 1};
}

quant::Scheme scheme_of(const QuantizeOptions& options) {
  if (options.method != "awq" && options.method != "gptq" && options.method != "rtn" && options.method != "fp8") {
    fail(ErrorCode::kInvalidArgument, "--method {}: expected awq, gptq, rtn or fp8", printable(options.method));
  }
  if (options.recipe != "best" && options.recipe != "fast" && options.recipe != "paper") {
    fail(ErrorCode::kInvalidArgument, "--recipe {}: expected best, fast or paper", printable(options.recipe));
  }
  if (options.recipe != "best" && options.method != "awq") {
    fail(ErrorCode::kInvalidArgument, "--recipe {} is for --method awq; --method {} has no recipes", options.recipe,
         options.method);
  }
  if (options.method == "fp8") return float8_scheme(options);
  const std::int64_t g = options.group_size;
  if (g != -1 && g != 32 && g != 64 && g != 128) {
    fail(ErrorCode::kInvalidArgument, "--group-size {}: expected 32, 64, 128 or -1 (one group per row)", g);
  }
  if (options.bits != 2 && options.bits != 3 && options.bits != 4 && options.bits != 8) {
    fail(ErrorCode::kInvalidArgument, "--bits {}: expected 2, 3, 4 or 8", options.bits);
  }
  return {.bits = options.bits, .group_size = g, .symmetric = options.symmetric};
}

const formats::Codec& codec_for(const QuantizeOptions& options, const quant::Scheme& scheme) {
  const bool float8 = scheme.kind == quant::CodeKind::kE4M3;
  std::string name = options.format.empty() ? (float8 ? "compressed-tensors" : "awq") : options.format;
  if (float8 && name == "compressed-tensors") name = "float-quantized";  // how that format calls FP8 weights
  const formats::Codec* codec = formats::find_codec(name);
  if (codec == nullptr || codec->encode == nullptr) {
    fail(ErrorCode::kInvalidArgument, "--format {}: expected {}", printable(options.format),
         float8 ? "compressed-tensors or fp8" : "awq or compressed-tensors");
  }
  // A shape that fits every rule: what is refused now is the scheme itself.
  if (const char* reason = codec->refuses(scheme, 4096, 4096)) {
    fail(ErrorCode::kInvalidArgument, "--format {} with {} bits{}: {}", codec->name, scheme.bits,
         scheme.symmetric ? ", symmetric" : "", reason);
  }
  return *codec;
}

bool matches(const std::string& module, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return fnmatch(pattern.c_str(), module.c_str(), 0) == 0; });
}

/// Decides each linear of one layer. Linears that read the same activations are one fused projection in the servers
/// (qkv, gate_up), which load it whole or not at all: one that stays keeps the others.
void plan_layer(const model::ModelFiles& files, const QuantizeOptions& options, const formats::Codec& codec,
                const quant::Scheme& scheme, const WideSites& wide, std::int64_t layer,
                std::vector<PlannedLinear>& out) {
  const std::size_t first = out.size();
  for (const LinearSpec& linear : files.architecture().linears) {
    PlannedLinear planned{.layer = layer,
                          .spec = &linear,
                          .module = files.linear_name(layer, linear),
                          .kept_because = {},
                          .scheme = wide.contains({layer, linear.input}) ? wide_scheme(scheme) : scheme};
    const model::LinearShape shape = model::linear_shape(files.config(), linear.role);
    if (matches(planned.module, options.skip)) {
      planned.kept_because = "matches --skip";
    } else if (const char* reason = codec.refuses(planned.scheme, static_cast<std::uint64_t>(shape.out_features),
                                                  static_cast<std::uint64_t>(shape.in_features))) {
      planned.kept_because = fmt::format("{} [{}, {}]", reason, shape.out_features, shape.in_features);
    }
    out.push_back(std::move(planned));
  }
  const std::span<PlannedLinear> all(out.data() + first, out.size() - first);
  for (const PlannedLinear& kept : all) {
    if (kept.kept_because.empty() || kept.kept_because.starts_with("servers fuse")) continue;
    for (PlannedLinear& other : all) {
      if (other.kept_because.empty() && other.spec->input == kept.spec->input) {
        other.kept_because = "servers fuse it with " + kept.module + ", which stays";
      }
    }
  }
}

void add_spec(std::vector<formats::TensorSpec>& tensors, const formats::TensorSpec& source, const std::string& name) {
  tensors.push_back({name, source.dtype, source.shape});
}

/// Names under which the embedding and the head go out. Tied tensors are stored once, under the embedding's name,
/// because servers look for that one.
std::vector<CopiedTensor> plan_ends(const model::ModelFiles& files) {
  const auto& names = files.architecture().tensors;
  const std::string embedding = std::string(names.embedding) + ".weight";
  const std::string head = std::string(names.head) + ".weight";
  const bool has_embedding = files.checkpoint().find(embedding) != nullptr;
  const bool has_head = files.checkpoint().find(head) != nullptr;
  if (!has_embedding) return {{head, embedding}};
  if (!has_head) return {{embedding, embedding}};
  if (!files.config().tie_word_embeddings) return {{embedding, embedding}, {head, head}};
  const auto& a = files.checkpoint().get(embedding);
  const auto& b = files.checkpoint().get(head);
  if (a.dtype != b.dtype) return {{embedding, embedding}, {head, head}};
  constexpr std::uint64_t kPiece = 1 << 20;
  std::vector<std::byte> left(kPiece), right(kPiece);
  for (std::uint64_t at = 0; at < a.size_bytes(); at += kPiece) {
    const std::size_t count = static_cast<std::size_t>(std::min(kPiece, a.size_bytes() - at));
    files.checkpoint().read(a, std::span(left).first(count), at);
    files.checkpoint().read(b, std::span(right).first(count), at);
    if (!std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(count), right.begin())) {
      return {{embedding, embedding}, {head, head}};
    }
  }
  return {{embedding, embedding}};
}

/// Options about bits beyond those of all linears: which formats and methods can have them.
void check_bits(const QuantizeOptions& options, const formats::Codec& codec, const quant::Scheme& scheme) {
  const struct {
    const char* flag;
    int bits;
  } ends[] = {{"--embed-bits", options.embed_bits}, {"--head-bits", options.head_bits}};
  for (const auto& [flag, bits] : ends) {
    if (bits != 8 && bits != 16) fail(ErrorCode::kInvalidArgument, "{} {}: expected 8 or 16", flag, bits);
    if (bits == 8 && !codec.several_schemes) {
      fail(ErrorCode::kInvalidArgument,
           "{} 8 with format {}: its files hold codes of linears of the layers only; --format compressed-tensors can",
           flag, codec.name);
    }
  }
  if (options.target_bpw == 0) return;
  if (!(options.target_bpw > 0 && options.target_bpw <= 32)) {
    fail(ErrorCode::kInvalidArgument, "--target-bpw {}: expected more than 0, at most 32", options.target_bpw);
  }
  if (options.method != "awq" && options.method != "gptq") {
    fail(ErrorCode::kInvalidArgument,
         "--target-bpw with --method {}: what linears lose is measured on calibration text, which that method does "
         "not read",
         options.method);
  }
  if (!codec.several_schemes) {
    fail(ErrorCode::kInvalidArgument,
         "--target-bpw with format {}: its files hold linears of one width only; --format compressed-tensors can mix",
         codec.name);
  }
  if (scheme.bits >= 8) {
    fail(ErrorCode::kInvalidArgument, "--target-bpw with --bits {}: linears get --bits or 8, so --bits must be less",
         scheme.bits);
  }
}

/// Sorts the ends into those that are quantized and those that are copied.
void plan_vocabulary(const model::ModelFiles& files, const QuantizeOptions& options, OutputPlan& plan) {
  const std::string head = std::string(files.architecture().tensors.head) + ".weight";
  const std::vector<CopiedTensor> ends = plan_ends(files);
  if (ends.size() == 1 && options.embed_bits != options.head_bits) {
    fail(ErrorCode::kInvalidArgument,
         "--embed-bits {} with --head-bits {}: the head of this model is its embedding, one tensor in the file; give "
         "both the same",
         options.embed_bits, options.head_bits);
  }
  const auto width = static_cast<std::uint64_t>(files.config().hidden_size);
  for (const CopiedTensor& end : ends) {
    if ((end.to == head ? options.head_bits : options.embed_bits) == 16) {
      plan.copied.push_back(end);
      continue;
    }
    quant::Scheme scheme = wide_scheme(plan.scheme);
    if (width % quant::resolved_group_size(scheme, width) != 0) scheme.group_size = -1;
    // Loaders convert scales to the model's own type.
    plan.vocabulary.push_back({.from = end.from,
                               .module = end.to.substr(0, end.to.rfind('.')),
                               .scheme = scheme,
                               .scale_dtype = files.checkpoint().get(end.from).dtype});
  }
}

void add_remarks(const model::ModelFiles& files, const QuantizeOptions& options, OutputPlan& plan) {
  const model::ModelConfig& c = files.config();
  const bool integers = plan.scheme.kind == quant::CodeKind::kInteger;
  if (integers && plan.scheme.bits != 4 && plan.scheme.bits != 8) {
    plan.remarks.push_back(
        fmt::format("{} bits: the kernels of vLLM are for 4 and 8 bits; this program and the compressed-tensors "
                    "library read the file",
                    plan.scheme.bits));
  }
  if (integers && plan.scheme.bits == 8 && !plan.scheme.symmetric) {
    plan.remarks.emplace_back("8 bits with zero points: most kernels of servers take 8 bits with --symmetric only");
  }
  if (!plan.vocabulary.empty()) {
    plan.remarks.emplace_back(
        "8-bit embedding or head: not every loader of compressed-tensors reads them (docs/formats/"
        "compressed-tensors.md)");
  }
  if (options.method == "awq" && options.recipe != "best" && c.num_attention_heads != c.num_key_value_heads) {
    plan.remarks.push_back(fmt::format("o_proj gets no channel scales: {} query heads share {} value heads",
                                       c.num_attention_heads, c.num_key_value_heads));
  }
  // A row-parallel linear is cut along its inputs, and every part must hold whole groups.
  for (const LinearSpec& linear : files.architecture().linears) {
    const std::int64_t inputs = model::linear_shape(c, linear.role).in_features;
    const bool row_parallel = linear.role == model::Role::kO || linear.role == model::Role::kDown;
    if (!row_parallel || options.group_size <= 0 || inputs % options.group_size != 0) continue;
    for (const int ways : {2, 4, 8}) {
      if (inputs % (options.group_size * ways) == 0) continue;
      plan.remarks.push_back(
          fmt::format("tensor parallel over {}{} would fail: {} has {} inputs, not a multiple of {} groups of {}", ways,
                      ways < 8 ? " or more" : "", linear.name, inputs, ways, options.group_size));
      break;
    }
  }
}

}  // namespace

std::array<bool, model::kRoles> OutputPlan::quantized_roles(std::int64_t layer) const {
  std::array<bool, model::kRoles> out{};
  for (const PlannedLinear& linear : linears) {
    if (linear.layer == layer) out[static_cast<std::size_t>(linear.spec->role)] = linear.kept_because.empty();
  }
  return out;
}

std::vector<std::string> OutputPlan::quantized_modules() const {
  std::vector<std::string> out;
  for (const PlannedLinear& linear : linears) {
    if (linear.kept_because.empty()) out.push_back(linear.module);
  }
  return out;
}

std::vector<std::string> OutputPlan::wide_modules() const {
  std::vector<std::string> out;
  for (const PlannedLinear& linear : linears) {
    if (linear.kept_because.empty() && linear.scheme != scheme) out.push_back(linear.module);
  }
  return out;
}

const PlannedVocabulary* OutputPlan::quantized_embedding(const model::ModelFiles& files) const {
  const auto found = std::find_if(vocabulary.begin(), vocabulary.end(), [&](const PlannedVocabulary& matrix) {
    return matrix.module == files.architecture().tensors.embedding;
  });
  return found == vocabulary.end() ? nullptr : &*found;
}

bool OutputPlan::has_own_head(const model::ModelFiles& files) const {
  const std::string head = files.architecture().tensors.head;
  return std::any_of(copied.begin(), copied.end(),
                     [&](const CopiedTensor& tensor) { return tensor.to == head + ".weight"; }) ||
         std::any_of(vocabulary.begin(), vocabulary.end(),
                     [&](const PlannedVocabulary& matrix) { return matrix.module == head; });
}

formats::QuantizationSummary OutputPlan::summary(const model::ModelFiles& files) const {
  formats::QuantizationSummary out{.scheme = scheme,
                                   .scale_dtype = scale_dtype,
                                   .quantized_modules = {},
                                   .other_linears = {},
                                   .vocabulary = {},
                                   .unquantized_linears = kept_modules(files)};
  const std::vector<std::string> wide = wide_modules();
  for (const PlannedLinear& linear : linears) {
    if (linear.kept_because.empty() && linear.scheme == scheme) out.quantized_modules.push_back(linear.module);
  }
  if (out.quantized_modules.empty()) {  // then the wide ones are all there is
    out.scheme = wide_scheme(scheme);
    out.quantized_modules = wide;
  } else if (!wide.empty()) {
    out.other_linears.push_back({wide_scheme(scheme), wide});
  }
  for (const PlannedVocabulary& matrix : vocabulary) {
    if (out.vocabulary.empty()) out.vocabulary.push_back({matrix.scheme, {}});
    out.vocabulary.front().modules.push_back(matrix.module);
  }
  return out;
}

quant::Scheme wide_scheme(const quant::Scheme& narrow) {
  return {.bits = 8, .group_size = narrow.group_size, .symmetric = true};
}

std::vector<std::string> OutputPlan::kept_modules(const model::ModelFiles& files) const {
  std::vector<std::string> out;
  for (const PlannedLinear& linear : linears) {
    if (!linear.kept_because.empty()) out.push_back(linear.module);
  }
  const std::string head = files.architecture().tensors.head;
  if (std::none_of(vocabulary.begin(), vocabulary.end(),
                   [&](const PlannedVocabulary& matrix) { return matrix.module == head; })) {
    out.push_back(head);
  }
  return out;
}

OutputPlan plan_output(const model::ModelFiles& files, const QuantizeOptions& options, const WideSites& wide) {
  if (files.codec() != nullptr) {
    fail(ErrorCode::kUnsupported, "{}: the model is quantized already ({}); expected an unquantized model",
         files.folder().string(), files.codec()->name);
  }
  OutputPlan plan;
  plan.scheme = scheme_of(options);
  plan.codec = &codec_for(options, plan.scheme);
  check_bits(options, *plan.codec, plan.scheme);
  if (plan.scheme.kind == quant::CodeKind::kE4M3) {
    // The model's own type where its range allows it: loaders convert scales to that. Blocks always have F32.
    const bool per_channel = plan.scheme.rows_per_scale == 1;
    plan.scale_dtype = per_channel && files.dtype() == DType::kBf16 ? DType::kBf16 : DType::kF32;
  }
  for (std::int64_t layer = 0; layer < files.config().num_hidden_layers; ++layer) {
    plan_layer(files, options, *plan.codec, plan.scheme, wide, layer, plan.linears);
  }
  if (std::none_of(plan.linears.begin(), plan.linears.end(),
                   [](const PlannedLinear& l) { return l.kept_because.empty(); })) {
    fail(ErrorCode::kUnsupported, "nothing is left to quantize: {}: {}", plan.linears.front().module,
         plan.linears.front().kept_because);
  }

  std::vector<formats::TensorSpec> tensors;
  std::set<std::string> handled;
  const auto& checkpoint = files.checkpoint();
  const auto& names = files.architecture().tensors;
  handled.insert({std::string(names.embedding) + ".weight", std::string(names.head) + ".weight"});
  plan_vocabulary(files, options, plan);
  const auto add_encoded = [&](const std::string& module, const quant::Scheme& scheme, DType scale_dtype,
                               model::LinearShape shape) {
    for (formats::TensorSpec spec :
         plan.codec->encoded_specs(scheme, scale_dtype, static_cast<std::uint64_t>(shape.out_features),
                                   static_cast<std::uint64_t>(shape.in_features))) {
      spec.name = module + "." + spec.name;
      tensors.push_back(std::move(spec));
    }
  };
  const auto add_end = [&](const char* module) {
    for (const CopiedTensor& tensor : plan.copied) {
      if (tensor.to == std::string(module) + ".weight") add_spec(tensors, checkpoint.get(tensor.from), tensor.to);
    }
    for (const PlannedVocabulary& matrix : plan.vocabulary) {
      if (matrix.module == module) {
        add_encoded(matrix.module, matrix.scheme, matrix.scale_dtype,
                    {files.config().vocab_size, files.config().hidden_size});
      }
    }
  };
  add_end(names.embedding);
  for (const PlannedLinear& linear : plan.linears) {
    handled.insert(linear.module + ".weight");
    if (linear.kept_because.empty()) {
      add_encoded(linear.module, linear.scheme, plan.scale_dtype,
                  model::linear_shape(files.config(), linear.spec->role));
    } else {
      add_spec(tensors, checkpoint.get(linear.module + ".weight"), linear.module + ".weight");
    }
  }
  for (const auto& tensor : checkpoint.tensors()) {
    if (handled.contains(tensor.name)) continue;
    add_spec(tensors, tensor, tensor.name);
    // Norms and biases of the layers change with the scales; everything else is copied.
    if (!tensor.name.starts_with(names.layer_prefix)) plan.copied.push_back({tensor.name, tensor.name});
  }
  add_end(names.head);
  plan.checkpoint = formats::plan_checkpoint(std::move(tensors), options.max_shard_bytes);
  add_remarks(files, options, plan);
  return plan;
}

}  // namespace awq::quantize
