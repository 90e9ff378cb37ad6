#include "report/comparison_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/page.h"
#include "report/svg.h"

namespace awq::report {
namespace {

/// Methods that have numbers, with the colour each keeps in all pictures.
struct Measured {
  const ComparedMethod* method;
  std::size_t color;
};

std::vector<Measured> measured(const Comparison& c) {
  std::vector<Measured> out;
  for (std::size_t i = 0; i < c.methods.size(); ++i) {
    if (c.methods[i].skipped.empty()) out.push_back({&c.methods[i], i});
  }
  return out;
}

std::string speed(double tokens_per_second) {
  return tokens_per_second > 0 ? fmt::format("{:.0f}", tokens_per_second) : "–";
}

std::string with_error(const std::string& value, const std::string& error) {
  return fmt::format("{} <span class=\"small\">± {}</span>", value, error);
}

std::string name_cell(const ComparedMethod& m) {
  return fmt::format("<span title=\"{}\">{}</span>", escape(m.summary), escape(m.name));
}

std::vector<std::string> loss_row(const ComparedMethod& m, bool is_base, double best_kl) {
  std::vector<std::string> row = {name_cell(m), size_text(static_cast<double>(m.file_bytes)),
                                  fmt::format("{:.2f}", m.bits_per_weight), fmt::format("{:.4f}", m.perplexity)};
  if (is_base) {
    row.insert(row.end(), {"0", "0", "100 %", "0"});
    return row;
  }
  const std::string kl = with_error(fmt::format("{:.6f}", m.kl_mean), short_number(m.kl_stderr));
  row.push_back(m.kl_mean == best_kl ? "<td class=\"best\">" + kl + "</td>" : kl);
  row.push_back(fmt::format("{:.5f}", m.kl_p99));
  row.push_back(fmt::format("{:.2f} %", 100 * m.top1_agreement));
  row.push_back(with_error(fmt::format("{:+.5f}", m.delta_nll_mean), short_number(m.delta_nll_stderr)));
  return row;
}

std::string loss_table(const Comparison& c) {
  double best = 1e300;
  for (const Measured& m : measured(c)) {
    // Among those that save more than half: eight bits are always nearer than four.
    if (m.method->bits_per_weight < 8) best = std::min(best, m.method->kl_mean);
  }
  std::vector<std::vector<std::string>> rows = {loss_row(c.base, true, best)};
  for (const ComparedMethod& m : c.methods) {
    if (m.skipped.empty()) {
      rows.push_back(loss_row(m, false, best));
    } else {
      rows.push_back({escape(m.name), "<td class=\"why\" colspan=\"7\">" + escape(m.skipped) + "</td>"});
    }
  }
  return table({"Method", "Weights", "Bits per weight", "Perplexity", "KL, nats per token", "KL, 99th percentile",
                "Same top token", "NLL − original"},
               rows);
}

std::string cost_table(const Comparison& c) {
  std::vector<std::vector<std::string>> rows = {
      {name_cell(c.base), "–", "–", speed(c.base.prefill_tokens_per_s), speed(c.base.decode_tokens_per_s)}};
  for (const Measured& m : measured(c)) {
    rows.push_back({name_cell(*m.method), fmt::format("{:.1f} s", m.method->quantize_seconds),
                    m.method->peak_rss_bytes > 0 ? size_text(static_cast<double>(m.method->peak_rss_bytes)) : "–",
                    speed(m.method->prefill_tokens_per_s), speed(m.method->decode_tokens_per_s)});
  }
  return table({"Method", "Time to quantize", "Peak memory", "Prefill, tokens per second", "Decode, tokens per second"},
               rows);
}

std::string size_against_loss(const Comparison& c) {
  std::vector<Point> points;
  for (const Measured& m : measured(c)) {
    points.push_back({.label = m.method->name,
                      .x = static_cast<double>(m.method->file_bytes) / 1e6,
                      .y = m.method->kl_mean,
                      .y_error = m.method->kl_stderr,
                      .color = m.color,
                      .detail = fmt::format("{}, {:.2f} bits per weight, KL {:.6f}",
                                            size_text(static_cast<double>(m.method->file_bytes)),
                                            m.method->bits_per_weight, m.method->kl_mean)});
  }
  return figure(
      "Size against loss",
      scatter_chart(points, "Weights, MB", "KL to the original, nats per token",
                    "Every method as a point: size of its weights to the right, loss upwards"),
      "Down and to the left is better. The dashed line joins the methods that no other beats in both size and "
      "loss; bars are one standard error over documents or windows.");
}

std::string layer_maps(const Comparison& c) {
  HeatMap attention{.description = "Error of each layer when its attention is quantized, by method"};
  HeatMap mlp{.description = "Error of each layer when its MLP is quantized, by method"};
  std::vector<Series> accumulated;
  for (const Measured& m : measured(c)) {
    if (m.method->layers.empty()) continue;
    attention.rows.push_back(m.method->name);
    mlp.rows.push_back(m.method->name);
    auto& a = attention.values.emplace_back();
    auto& b = mlp.values.emplace_back();
    Series line{.label = m.method->name, .color = m.color};
    for (const ComparedLayer& layer : m.method->layers) {
      a.push_back(layer.attention);
      b.push_back(layer.mlp);
      line.values.push_back(layer.accumulated);
    }
    accumulated.push_back(std::move(line));
  }
  if (accumulated.empty()) return "";
  for (std::size_t i = 0; i < accumulated.front().values.size(); ++i) {
    attention.columns.push_back(fmt::format("{}", i));
    mlp.columns.push_back(fmt::format("{}", i));
  }
  return figure("Error of each layer: attention", heat_map(attention),
                "Squared error of the layer's output when only its attention is quantized and its input is the "
                "original's, "
                "relative to what the layer adds. Columns are layers; both maps use logarithmic shades of their own.") +
         figure("Error of each layer: MLP", heat_map(mlp), "The same for the MLP.") +
         figure("How errors add up",
                line_chart(accumulated, {.x_label = "Layer",
                                         .y_label = "Relative squared error",
                                         .description = "Error of the hidden state after each layer, by method"}),
                "Error of the hidden state after each layer with all layers so far quantized, relative to that state. "
                "What "
                "a method gains by correcting for the layers before shows here and not above.");
}

std::string channels(const Comparison& c) {
  const ChannelMagnitudes& m = c.channels;
  if (m.layer < 0 || m.before.empty()) return "";
  const auto series = [](const std::string& name, std::size_t color, const std::vector<float>& values) {
    Series out{.label = name, .color = color};
    // Neighbours are averaged where there are more channels than pixels.
    const std::size_t step = std::max<std::size_t>(1, values.size() / 600);
    for (std::size_t i = 0; i + step <= values.size(); i += step) {
      double sum = 0;
      for (std::size_t j = i; j < i + step; ++j) sum += values[j];
      out.values.push_back(sum / static_cast<double>(step));
    }
    return out;
  };
  std::vector<Series> lines;
  if (!m.after.empty()) lines.push_back(series("after the scales of " + m.method, 1, m.after));
  lines.push_back(series("original", 0, m.before));
  return figure(
      "Salient channels",
      line_chart(lines, {.x_label = "Channel, largest first",
                         .y_label = "Mean |x|",
                         .description = "Mean magnitude of each channel before and after scaling"}),
      fmt::format("Mean magnitude of the channels at the {} of layer {}, the most uneven place of the model, on the "
                  "evaluation text. A few channels carry far more than the others; activation-aware scales "
                  "divide them (and multiply their weights), so that rounding hurts them less.",
                  escape(m.site), m.layer));
}

std::string code_pictures(const Comparison& c) {
  if (c.codes.empty()) return "";
  std::size_t most = 0;
  std::vector<Series> shares, steps;
  for (std::size_t i = 0; i < c.codes.size(); ++i) {
    const CodeStatistics& s = c.codes[i];
    const auto found =
        std::find_if(c.methods.begin(), c.methods.end(), [&](const ComparedMethod& m) { return m.name == s.method; });
    const auto color = static_cast<std::size_t>(found - c.methods.begin());
    Series share{.label = s.method, .color = color};
    for (const double v : s.code_share) share.values.push_back(100 * v);
    most = std::max(most, share.values.size());
    shares.push_back(std::move(share));
    Series step{.label = s.method, .color = color};
    constexpr std::size_t kPoints = 101;
    for (std::size_t p = 0; p < kPoints && !s.steps.empty(); ++p) {
      step.values.push_back(s.steps[p * (s.steps.size() - 1) / (kPoints - 1)]);
    }
    steps.push_back(std::move(step));
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < most; ++i) names.push_back(fmt::format("{}", i));
  std::string out;
  if (most <= 16) {
    out += figure(
        "Use of the codes",
        bar_chart(shares, names, "Code", "Share of weights, %", "How often each code is used, by method"),
        fmt::format("How the weights of <code>{}</code> spread over the codes. Ranges that follow each group's own "
                    "ends use the outer codes more.",
                    escape(c.linear)));
  }
  out += figure(
      "Ranges of the groups",
      line_chart(steps, {.x_label = "Percentile of groups",
                         .y_label = "Step between codes",
                         .description = "Step sizes of all groups, sorted, by method"}),
      fmt::format("Distance between neighbouring codes in the groups of <code>{}</code>, sorted. A method that clips "
                  "has smaller steps; one that scales channels has larger ones where it multiplied weights.",
                  escape(c.linear)));
  return out;
}

}  // namespace

std::string comparison_page(const Comparison& c) {
  const std::string lead = fmt::format(
      "{} parameters. Loss measured on {} predicted tokens of {} ({}), calibrated on {}. {}; {:.0f} s in all.",
      c.parameters >= 1'000'000'000 ? fmt::format("{:.2f} billion", static_cast<double>(c.parameters) / 1e9)
                                    : fmt::format("{:.1f} million", static_cast<double>(c.parameters) / 1e6),
      c.tokens, escape(c.text_name), c.windows == 1 ? "one window" : fmt::format("{} windows or documents", c.windows),
      escape(c.calibration_name), escape(c.machine), c.seconds);
  std::string body = size_against_loss(c);
  body += "<section class=\"card\"><h2>Loss</h2>" + loss_table(c) +
          "<p class=\"note\">The first row is the model as it is. Bold: the smallest loss below 8 bits per weight.</p>"
          "</section>\n<section class=\"card\"><h2>Time, memory, speed</h2>" +
          cost_table(c) +
          "<p class=\"note\">Methods whose name begins with gguf are rounded in memory as llama.cpp would, and not run "
          "here. FP8 weights run expanded to 32 bits.</p></section>\n";
  body += layer_maps(c) + channels(c) + code_pictures(c);
  body += "<footer>Made by awq compare. What each number means: docs/compare.md.</footer>\n";
  return page("Quantizing " + c.model_name, lead, body);
}

}  // namespace awq::report
