#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "report/charts.h"
#include "report/comparison_page.h"
#include "report/page.h"
#include "report/svg.h"

namespace awq::report {
namespace {

/// Reads of awq_report.json that answer a damaged file with an error and not with an exception of the JSON library.
class Fields {
 public:
  Fields(const file::Json& object, const std::string& file_name) : object_(object), file_(file_name) {
    if (!object.is_object()) fail(ErrorCode::kCorruptFile, "{}: expected an object", file_);
  }
  double number(const char* key, double fallback) const {
    const auto found = object_.find(key);
    return found != object_.end() && found->is_number() ? found->get<double>() : fallback;
  }
  std::string text(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && found->is_string() ? found->get<std::string>() : "";
  }
  const file::Json& array(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_array()) {
      fail(ErrorCode::kCorruptFile, "{}: {}: expected an array", file_, key);
    }
    return *found;
  }

 private:
  const file::Json& object_;
  const std::string& file_;
};

std::string loss_table(const file::Json& evaluation, const std::string& file_name) {
  if (!evaluation.is_object()) return "<p class=\"note\">The loss was not measured (--no-eval).</p>";
  const Fields e(evaluation, file_name);
  return table(
      {"Measured on", "Tokens", "Perplexity of the original", "Perplexity", "KL, nats per token", "KL, 99th percentile",
       "Same top token", "NLL − original"},
      {{escape(e.text("text")), fmt::format("{:.0f}", e.number("tokens", 0)),
        fmt::format("{:.4f}", e.number("base_perplexity", 0)), fmt::format("{:.4f}", e.number("perplexity", 0)),
        fmt::format("<td class=\"best\">{:.6f}</td>", e.number("kl_mean", 0)),
        fmt::format("{:.5f}", e.number("kl_p99", 0)), fmt::format("{:.2f} %", 100 * e.number("top1_agreement", 0)),
        fmt::format("{:+.5f} <span class=\"small\">± {}</span>", e.number("delta_nll_mean", 0),
                    short_number(e.number("delta_nll_stderr", 0)))}});
}

/// The part of "model.layers.3.mlp.up_proj" after the layer's number.
std::string inner_name(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

struct LayerPictures {
  HeatMap after;
  std::vector<Series> alphas;
  Series before_mean, after_mean;
};

LayerPictures read_layers(const file::Json& layers, const std::string& file_name) {
  LayerPictures out;
  out.after.description = "Relative output error of every linear";
  std::vector<std::string> rows;
  std::vector<std::map<std::string, std::pair<double, double>>> cells;
  std::map<std::string, std::vector<double>> alphas;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Fields layer(layers[i], file_name);
    out.after.columns.push_back(fmt::format("{}", i));
    auto& errors = cells.emplace_back();
    for (const file::Json& row : layer.array("linears")) {
      const Fields linear(row, file_name);
      const std::string name = inner_name(linear.text("name"));
      if (std::find(rows.begin(), rows.end(), name) == rows.end()) rows.push_back(name);
      errors[name] = {linear.number("error_before", 0), linear.number("error_after", 0)};
    }
    const auto sites = layers[i].find("sites");
    if (sites == layers[i].end() || !sites->is_object()) continue;
    for (const auto& [site, value] : sites->items()) {
      auto& line = alphas[site];
      line.resize(i, -1);
      line.push_back(Fields(value, file_name).number("alpha", -1));
    }
  }
  out.before_mean.label = "rounding to nearest";
  out.after_mean.label = "stored";
  out.before_mean.color = 1;
  for (const auto& errors : cells) {
    double before = 0, after = 0;
    for (const auto& [name, pair] : errors) {
      before += pair.first;
      after += pair.second;
    }
    const double count = std::max<double>(1, static_cast<double>(errors.size()));
    out.before_mean.values.push_back(before / count);
    out.after_mean.values.push_back(after / count);
  }
  for (const std::string& row : rows) {
    out.after.rows.push_back(row);
    auto& values = out.after.values.emplace_back();
    for (const auto& errors : cells) values.push_back(errors.contains(row) ? errors.at(row).second : 0);
  }
  for (const auto& [site, values] : alphas) {
    if (std::none_of(values.begin(), values.end(), [](double a) { return a >= 0; })) continue;
    Series line{.label = site, .color = out.alphas.size(), .values = values};
    for (double& a : line.values) a = a < 0 ? 0 : a;
    out.alphas.push_back(std::move(line));
  }
  return out;
}

}  // namespace

std::string quantization_page(const file::Json& report, const file::Json& run, const std::string& model_name,
                              const std::string& file_name) {
  const Fields r(report, file_name);
  const LayerPictures pictures = read_layers(r.array("layers"), file_name);
  const double group = r.number("group_size", 0);
  std::string lead =
      fmt::format("Method {}, {:.0f} bits, {}, format {}.", escape(r.text("method")), r.number("bits", 0),
                  group < 0 ? "one group per row" : fmt::format("groups of {:.0f}", group), escape(r.text("format")));
  if (run.is_object()) {
    const Fields t(run, file_name);
    lead += fmt::format(" {:.1f} s, {} of memory at the peak.", t.number("seconds", 0),
                        size_text(t.number("peak_rss_bytes", 0)));
  }
  const auto evaluation = report.find("evaluation");
  std::string body = "<section class=\"card\"><h2>What it cost</h2>" +
                     loss_table(evaluation == report.end() ? file::Json() : *evaluation, file_name) + "</section>\n";
  const bool searched =
      std::any_of(pictures.after_mean.values.begin(), pictures.after_mean.values.end(), [](double v) { return v > 0; });
  if (searched) {
    body +=
        figure("Before and after the search",
               line_chart({pictures.before_mean, pictures.after_mean},
                          {.x_label = "Layer",
                           .y_label = "Relative output error",
                           .description = "Mean output error of each layer's linears, rounded and as stored"}),
               "Squared error of the outputs on the calibration text relative to the outputs, mean over the linears of "
               "each layer: what plain rounding would give, and what was stored.");
    body += figure("Error of every linear", heat_map(pictures.after),
                   "The same for every linear, as stored. Columns are layers; shades are logarithmic.");
  } else {
    body +=
        "<section class=\"card\"><p class=\"note\">This method needs no calibration, so no errors of single layers "
        "were "
        "measured.</p></section>\n";
  }
  if (!pictures.alphas.empty()) {
    body += figure("Strength of the channel scales",
                   line_chart(pictures.alphas, {.x_label = "Layer",
                                                .y_label = "Exponent",
                                                .description = "Chosen exponent of the channel scales by site",
                                                .logarithmic = false}),
                   "The exponent of mean |x| that the search chose at each site; 0 where it chose none.");
  }
  const file::Json& kept = r.array("unquantized");
  if (!kept.empty()) {
    std::vector<std::vector<std::string>> rows;
    for (const file::Json& row : kept) {
      const Fields k(row, file_name);
      rows.push_back({escape(k.text("name")), "<td class=\"why\">" + escape(k.text("reason")) + "</td>"});
    }
    body += "<section class=\"card\"><h2>Kept in 16 bit</h2>" + table({"Linear", "Because"}, rows) + "</section>\n";
  }
  body += "<footer>Made by awq quantize from awq_report.json.</footer>\n";
  return page(model_name + ", quantized", lead, body);
}

}  // namespace awq::report
