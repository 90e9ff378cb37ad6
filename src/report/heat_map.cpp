#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/svg.h"

namespace awq::report {
namespace {

constexpr std::size_t kShades = 9;

/// Index of the shade of `value` on a logarithmic scale from `low` to `high`.
std::size_t shade(double value, double low, double high) {
  if (high <= low) return kShades / 2;
  const double t = (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
  return static_cast<std::size_t>(std::clamp(t * kShades, 0.0, static_cast<double>(kShades) - 1));
}

bool is_drawn(double value) { return std::isfinite(value) && value > 0; }

}  // namespace

std::string heat_map(const HeatMap& map) {
  double low = 1e300, high = 0;
  for (const auto& row : map.values) {
    for (const double v : row) {
      if (!is_drawn(v)) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
  }
  if (map.rows.empty() || map.columns.empty() || high == 0) return "<p class=\"empty\">Nothing was measured.</p>";
  std::size_t longest = 0;
  for (const std::string& name : map.rows) longest = std::max(longest, name.size());
  const double left = 18 + 7.2 * static_cast<double>(longest);
  const double top = 10;
  const double cell = std::clamp(860.0 / static_cast<double>(map.columns.size()), 16.0, 58.0);
  constexpr double kRow = 30;
  const bool numbers = cell >= 44;
  const double width = std::max(left + cell * static_cast<double>(map.columns.size()) + 12, 420.0);
  const double bottom = top + kRow * static_cast<double>(map.rows.size());
  const double height = bottom + 74;
  Svg svg(width, height, map.description);
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const double y = top + kRow * static_cast<double>(r);
    svg.text(left - 10, y + kRow / 2 + 4, map.rows[r], "name", "end");
    for (std::size_t c = 0; c < map.columns.size() && c < map.values[r].size(); ++c) {
      const double v = map.values[r][c];
      const double x = left + cell * static_cast<double>(c);
      const std::string title =
          fmt::format("{}, {}: {}", map.rows[r], map.columns[c], is_drawn(v) ? short_number(v) : "none");
      if (!is_drawn(v)) {
        svg.rect(x, y, cell - 1.5, kRow - 1.5, R"(class="missing" rx="2")", title);
        continue;
      }
      const std::size_t s = shade(v, low, high);
      svg.rect(x, y, cell - 1.5, kRow - 1.5, fmt::format(R"svg(rx="2" style="fill:var(--h{})")svg", s), title);
      if (numbers) {
        svg.raw(fmt::format(
            R"svg(<text x="{}" y="{}" class="cell" text-anchor="middle" style="fill:var(--t{})">{}</text>)svg",
            px(x + cell / 2 - 0.75), px(y + kRow / 2 + 3.5), s, fmt::format("{:.1e}", v)));
      }
    }
  }
  // Column names, as many as there is room for.
  const auto step = static_cast<std::size_t>(std::ceil(40 / cell));
  for (std::size_t c = 0; c < map.columns.size(); c += step) {
    svg.text(left + cell * (static_cast<double>(c) + 0.5), bottom + 16, map.columns[c], "tick", "middle");
  }
  // The scale.
  constexpr double kSwatch = 26;
  const double y = bottom + 36;
  for (std::size_t s = 0; s < kShades; ++s) {
    svg.rect(left + kSwatch * static_cast<double>(s), y, kSwatch, 12,
             fmt::format(R"svg(style="fill:var(--h{})")svg", s));
  }
  svg.text(left, y + 28, short_number(low), "tick", "start");
  svg.text(left + kSwatch * kShades, y + 28, short_number(high), "tick", "end");
  return fmt::format(R"svg(<div style="max-width:{}px">{}</div>)svg", px(width * 1.2), svg.finish());
}

}  // namespace awq::report
