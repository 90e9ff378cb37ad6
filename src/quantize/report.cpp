#include "quantize/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>

#include "awq/version.h"

namespace awq::quantize {
namespace {

const char* site_name(model::Site site) {
  switch (site) {
    case model::Site::kAttentionInput:
      return "attention_input";
    case model::Site::kAttentionOutput:
      return "attention_output";
    case model::Site::kMlpInput:
      return "mlp_input";
    case model::Site::kMlpProduct:
      return "mlp_product";
  }
  return "";
}

std::string linear_name(const model::ModelFiles& files, std::int64_t layer, model::Role role) {
  for (const model::LinearSpec& linear : files.architecture().linears) {
    if (linear.role == role) return files.linear_name(layer, linear);
  }
  return "";
}

/// Splits "---\n...---\n" from the front of a model card.
std::pair<std::string, std::string> split_front_matter(const std::string& card) {
  if (!card.starts_with("---\n")) return {"", card};
  const std::size_t end = card.find("\n---\n", 3);
  if (end == std::string::npos) return {"", card};
  return {card.substr(4, end + 1 - 4), card.substr(end + 5)};
}

/// What people call a model: the folder's own name, or REPO in the Hub's cache (models--OWNER--NAME/snapshots/COMMIT).
std::string model_name(const std::filesystem::path& folder) {
  std::filesystem::path path = std::filesystem::absolute(folder).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const std::string repository = path.parent_path().parent_path().filename().string();
  if (path.parent_path().filename() != "snapshots" || !repository.starts_with("models--"))
    return path.filename().string();
  const std::string name = repository.substr(std::string_view("models--").size());
  const std::size_t dashes = name.find("--");
  return dashes == std::string::npos ? name : fmt::format("{}/{}", name.substr(0, dashes), name.substr(dashes + 2));
}

/// Plain where YAML takes it as a text for sure, else in quotes.
std::string yaml_text(const std::string& text) {
  const auto is_plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '/';
  };
  const bool plain = !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 &&
                     std::all_of(text.begin(), text.end(), is_plain);
  return plain ? text : file::to_line(file::Json(text));
}

/// The flags about bits that are not at their defaults.
std::string width_flags(const QuantizeOptions& options) {
  std::string out;
  if (options.embed_bits != 16) out += fmt::format(" --embed-bits {}", options.embed_bits);
  if (options.head_bits != 16) out += fmt::format(" --head-bits {}", options.head_bits);
  if (options.target_bpw > 0) out += fmt::format(" --target-bpw {}", options.target_bpw);
  return out;
}

}  // namespace

file::OrderedJson layer_to_json(std::int64_t layer, const LayerReport& report, const model::ModelFiles& files) {
  file::OrderedJson out;
  out["layer"] = layer;
  out["mean_error"] = report.mean_error;
  file::OrderedJson sites = file::OrderedJson::object();
  for (const SiteReport& site : report.sites) {
    // null: plain rounding was better than every exponent, or nothing can absorb a scale there.
    sites[site_name(site.site)]["alpha"] = site.alpha < 0 ? file::OrderedJson(nullptr) : file::OrderedJson(site.alpha);
  }
  out["sites"] = sites;
  file::OrderedJson linears = file::OrderedJson::array();
  for (const LinearReport& linear : report.linears) {
    file::OrderedJson row;
    row["name"] = linear_name(files, layer, linear.role);
    row["error_before"] = linear.error_before;
    row["error_after"] = linear.error_after;
    row["clip_rate"] = linear.clipped_groups;
    linears.push_back(row);
  }
  out["linears"] = linears;
  return out;
}

file::OrderedJson report_to_json(const QuantizeOptions& options, const OutputPlan& plan, const model::ModelFiles& files,
                                 const file::OrderedJson& calibration, const std::vector<file::OrderedJson>& layers,
                                 const std::optional<Measurement>& measurement) {
  file::OrderedJson out;
  out["tool"] = {{"name", "awq.cpp"}, {"version", kVersion}};
  out["architecture"] = files.config().architecture;
  out["method"] = options.method;
  if (options.method == "awq") out["recipe"] = options.recipe;
  out["bits"] = plan.scheme.bits;
  out["group_size"] = plan.scheme.group_size;
  out["symmetric"] = plan.scheme.symmetric;
  out["embed_bits"] = options.embed_bits;
  out["head_bits"] = options.head_bits;
  if (options.target_bpw > 0) out["target_bpw"] = options.target_bpw;
  out["wide_linears"] = plan.wide_modules();
  out["format"] = plan.codec->name;
  out["parameters"] = files.parameter_count();
  out["calibration"] = calibration;
  file::OrderedJson kept = file::OrderedJson::array();
  for (const PlannedLinear& linear : plan.linears) {
    if (!linear.kept_because.empty()) kept.push_back({{"name", linear.module}, {"reason", linear.kept_because}});
  }
  out["unquantized"] = kept;
  out["remarks"] = plan.remarks;
  if (measurement) {
    const eval::Scores& s = measurement->scores;
    file::OrderedJson row;
    row["text"] = measurement->text;
    if (measurement->device != "cpu") row["device"] = measurement->device;
    row["tokens"] = s.tokens;
    row["perplexity"] = std::exp(s.nll);
    row["base_perplexity"] = std::exp(s.base_nll);
    row["kl_mean"] = s.kl_mean;
    row["kl_p99"] = s.kl_p99;
    row["top1_agreement"] = s.top1_agreement;
    row["delta_nll_mean"] = s.delta_nll_mean;
    row["delta_nll_stderr"] = s.delta_nll_stderr;
    out["evaluation"] = row;
  } else {
    out["evaluation"] = nullptr;
  }
  out["layers"] = layers;
  return out;
}

std::string model_card(const QuantizeOptions& options, const OutputPlan& plan, const model::ModelFiles& files,
                       const std::optional<Measurement>& measurement, const std::string& original_card) {
  const auto [front, body] = split_front_matter(original_card);
  const std::string name = model_name(files.folder());
  std::string out = "---\n" + front;
  // Keys of the original stay; ours are added where it has none of that name.
  if (front.find("quantized_by:") == std::string::npos) out += "quantized_by: awq.cpp\n";
  if (front.find("base_model:") == std::string::npos) out += "base_model: " + yaml_text(name) + "\n";
  out += "---\n\n";
  const bool float8 = plan.scheme.kind == quant::CodeKind::kE4M3;
  out += fmt::format("# {} in {}\n\n", name, float8 ? "FP8" : fmt::format("{} bits", plan.scheme.bits));
  if (float8) {
    out += fmt::format(
        "Quantized by awq.cpp {} with `--method fp8`, format {}: the weights of {} of {} linear layers are "
        "E4M3 with a scale per {}.\n\n",
        kVersion, plan.codec->name, plan.quantized_modules().size(), plan.linears.size(),
        plan.scheme.rows_per_scale == 1 ? "output channel" : "block of 128 x 128");
  } else {
    out += fmt::format(
        "Quantized by awq.cpp {} with `--method {}{} --bits {}{} --group-size {}{} --format {}`: {} of {} linear "
        "layers, {} zero points.\n\n",
        kVersion, options.method, options.method == "awq" ? " --recipe " + options.recipe : "", plan.scheme.bits,
        width_flags(options), plan.scheme.group_size, options.symmetric ? " --symmetric" : "", plan.codec->name,
        plan.quantized_modules().size(), plan.linears.size(), options.symmetric ? "fixed" : "searched");
  }
  if (const std::vector<std::string> wide = plan.wide_modules(); !wide.empty()) {
    out += fmt::format("{} of them, those that lose most, have 8 bits (`wide_linears` in `awq_report.json`).\n\n",
                       wide.size());
  }
  for (const std::string& remark : plan.remarks) out += "- " + remark + "\n";
  if (!plan.remarks.empty()) out += "\n";
  if (measurement) {
    const eval::Scores& s = measurement->scores;
    out += fmt::format("What it cost, measured on {} ({} predicted tokens{}):\n\n", measurement->text, s.tokens,
                       measurement->device != "cpu" ? ", 16-bit activations on " + measurement->device : "");
    out += "| | original | quantized |\n|---|---|---|\n";
    out += fmt::format("| perplexity | {:.4f} | {:.4f} |\n", std::exp(s.base_nll), std::exp(s.nll));
    out += fmt::format("| KL divergence to the original, nats per token | 0 | {:.6f} |\n", s.kl_mean);
    out += fmt::format("| 99th percentile of the KL divergence | 0 | {:.6f} |\n", s.kl_p99);
    out += fmt::format("| same most likely token | 100 % | {:.2f} % |\n\n", 100 * s.top1_agreement);
  } else {
    out += "The loss was not measured (`--no-eval`).\n\n";
  }
  out += "Per-layer errors are in `awq_report.json`, hashes of all files in `awq_manifest.json`.\n";
  if (!body.empty()) out += "\n---\n\n" + body;
  return out;
}

}  // namespace awq::quantize
