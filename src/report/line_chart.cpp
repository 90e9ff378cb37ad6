#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/svg.h"

namespace awq::report {
namespace {

constexpr double kWidth = 720, kHeight = 330;
constexpr double kLeft = 76, kRight = kWidth - 22, kTop = 14, kBottom = kHeight - 50;

struct Bounds {
  double low = 1e300, high = -1e300;
  std::size_t steps = 0;
};

Bounds bounds_of(const std::vector<Series>& series, bool logarithmic) {
  Bounds out;
  for (const Series& s : series) {
    out.steps = std::max(out.steps, s.values.size());
    for (const double v : s.values) {
      if (!std::isfinite(v) || (logarithmic && v <= 0)) continue;
      out.low = std::min(out.low, v);
      out.high = std::max(out.high, v);
    }
  }
  return out;
}

std::string legend(const std::vector<Series>& series) {
  std::string out = "<ul class=\"legend\">";
  for (const Series& s : series) {
    out += fmt::format(R"(<li><span class="key" style="background:{}"></span>{}</li>)", series_color(s.color),
                       escape(s.label));
  }
  return out + "</ul>";
}

void axis_labels(Svg& svg, const std::string& x_label, const std::string& y_label) {
  svg.line(kLeft, kBottom, kRight, kBottom, "axis");
  svg.text((kLeft + kRight) / 2, kHeight - 10, x_label, "label", "middle");
  svg.raw(fmt::format(
      R"svg(<text transform="translate(16 {}) rotate(-90)" class="label" text-anchor="middle">{}</text>)svg",
      px((kTop + kBottom) / 2), escape(y_label)));
}

}  // namespace

std::string line_chart(const std::vector<Series>& series, const LineChart& chart) {
  Bounds bounds = bounds_of(series, chart.logarithmic);
  if (bounds.steps == 0 || bounds.high < bounds.low) return "<p class=\"empty\">Nothing was measured.</p>";
  if (!chart.logarithmic) bounds.low = std::min(bounds.low, 0.0);
  const double last = chart.first_x + static_cast<double>(bounds.steps) - 1;
  const Axis x(chart.first_x, last, kLeft, kRight, false);
  const Axis y(bounds.low, chart.logarithmic ? bounds.high * 1.15 : bounds.high * 1.05, kBottom, kTop,
               chart.logarithmic);
  std::vector<double> x_ticks;
  for (const double tick : x.ticks(9)) {
    if (tick == std::floor(tick)) x_ticks.push_back(tick);
  }
  Svg svg(kWidth, kHeight, chart.description);
  draw_grid(svg, x, y, kLeft, kRight, kTop, kBottom, x_ticks, y.ticks(6));
  axis_labels(svg, chart.x_label, chart.y_label);
  for (const Series& s : series) {
    std::string d;
    bool pen_down = false;
    for (std::size_t i = 0; i < s.values.size(); ++i) {
      const double v = s.values[i];
      const bool drawn = std::isfinite(v) && (!chart.logarithmic || v > 0);
      if (drawn) {
        d +=
            fmt::format("{}{} {}", pen_down ? "L" : "M", px(x.at(chart.first_x + static_cast<double>(i))), px(y.at(v)));
      }
      pen_down = drawn;
    }
    svg.path(d, fmt::format(R"(class="curve" style="stroke:{}")", series_color(s.color)));
    if (s.values.size() > 40) continue;
    for (std::size_t i = 0; i < s.values.size(); ++i) {
      const double v = s.values[i];
      if (!std::isfinite(v) || (chart.logarithmic && v <= 0)) continue;
      svg.circle(x.at(chart.first_x + static_cast<double>(i)), y.at(v), 3.2,
                 fmt::format(R"(class="bead" style="fill:{}")", series_color(s.color)),
                 fmt::format("{}, {} {}: {}", s.label, chart.x_label, chart.first_x + static_cast<double>(i),
                             short_number(v)));
    }
  }
  return svg.finish() + (chart.legend ? legend(series) : "");
}

std::string bar_chart(const std::vector<Series>& series, const std::vector<std::string>& groups,
                      const std::string& x_label, const std::string& y_label, const std::string& description) {
  const Bounds bounds = bounds_of(series, false);
  if (bounds.steps == 0 || groups.empty()) return "<p class=\"empty\">Nothing was measured.</p>";
  const Axis y(0, std::max(bounds.high, 1e-9) * 1.05, kBottom, kTop, false);
  Svg svg(kWidth, kHeight, description);
  for (const double tick : y.ticks(6)) {
    svg.line(kLeft, y.at(tick), kRight, y.at(tick), "grid");
    svg.text(kLeft - 8, y.at(tick) + 4, short_number(tick), "tick", "end");
  }
  axis_labels(svg, x_label, y_label);
  const double slot = (kRight - kLeft) / static_cast<double>(groups.size());
  const double bar = slot * 0.8 / static_cast<double>(series.size());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const double left = kLeft + slot * (static_cast<double>(g) + 0.1);
    svg.text(left + slot * 0.4, kBottom + 18, groups[g], "tick", "middle");
    for (std::size_t s = 0; s < series.size(); ++s) {
      if (g >= series[s].values.size()) continue;
      const double top = y.at(series[s].values[g]);
      svg.rect(left + bar * static_cast<double>(s), top, std::max(bar - 0.6, 0.5), kBottom - top,
               fmt::format(R"(style="fill:{}")", series_color(series[s].color)),
               fmt::format("{}, {}: {}", series[s].label, groups[g], short_number(series[s].values[g])));
    }
  }
  return svg.finish() + legend(series);
}

}  // namespace awq::report
