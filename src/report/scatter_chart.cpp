#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/charts.h"
#include "report/svg.h"

namespace awq::report {
namespace {

constexpr double kWidth = 720, kHeight = 430;
constexpr double kLeft = 76, kRight = kWidth - 26, kTop = 18, kBottom = kHeight - 52;

/// Where a label goes so that it does not cover another: tried to the right, left, above and below its point.
class LabelPlacer {
 public:
  struct Place {
    double x, y;
    const char* anchor;
  };
  void block(double x, double y, double radius) { boxes_.push_back({x - radius, y - radius, x + radius, y + radius}); }

  Place place(double x, double y, std::size_t length) {
    const double width = static_cast<double>(length) * 7.3;
    const Place tries[] = {{x + 11, y + 4, "start"},  {x - 11, y + 4, "end"},    {x, y - 13, "middle"},
                           {x, y + 22, "middle"},     {x + 11, y - 12, "start"}, {x - 11, y - 12, "end"},
                           {x + 11, y + 20, "start"}, {x - 11, y + 20, "end"},   {x, y - 29, "middle"},
                           {x, y + 38, "middle"}};
    for (const Place& p : tries) {
      const Box box = box_of(p, width);
      const bool inside = box.left > kLeft && box.right < kRight + 20 && box.top > 0 && box.bottom < kBottom + 4;
      if (!inside || std::any_of(boxes_.begin(), boxes_.end(), [&](const Box& b) { return overlap(b, box); })) continue;
      boxes_.push_back(box);
      return p;
    }
    boxes_.push_back(box_of(tries[0], width));
    return tries[0];
  }

 private:
  struct Box {
    double left, top, right, bottom;
  };
  static Box box_of(const Place& p, double width) {
    const double left = p.anchor[0] == 's' ? p.x : p.anchor[0] == 'e' ? p.x - width : p.x - width / 2;
    return {left, p.y - 12, left + width, p.y + 4};
  }
  static bool overlap(const Box& a, const Box& b) {
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  }
  std::vector<Box> boxes_;
};

/// The points that no other point beats in both directions, from left to right.
std::vector<Point> best_line(std::vector<Point> points) {
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.x != b.x ? a.x < b.x : a.y < b.y; });
  std::vector<Point> out;
  for (const Point& p : points) {
    if (out.empty() || p.y < out.back().y) out.push_back(p);
  }
  return out;
}

}  // namespace

std::string scatter_chart(const std::vector<Point>& points, const std::string& x_label, const std::string& y_label,
                          const std::string& description) {
  if (points.empty()) return "<p class=\"empty\">No method gave numbers.</p>";
  double x_low = points.front().x, x_high = x_low, y_low = 1e300, y_high = 1e-300;
  for (const Point& p : points) {
    x_low = std::min(x_low, p.x);
    x_high = std::max(x_high, p.x);
    if (p.y > 0) {
      y_low = std::min(y_low, p.y);
      y_high = std::max(y_high, p.y + p.y_error);
    }
  }
  if (y_high < y_low) y_low = y_high = 1e-6;
  const double x_room = std::max((x_high - x_low) * 0.09, x_high * 0.01);
  const Axis x(x_low - x_room, x_high + x_room, kLeft, kRight, false);
  const Axis y(y_low / 1.6, y_high * 1.6, kBottom, kTop, true);
  Svg svg(kWidth, kHeight, description);
  draw_grid(svg, x, y, kLeft, kRight, kTop, kBottom, x.ticks(7), y.ticks(8));
  svg.line(kLeft, kBottom, kRight, kBottom, "axis");
  svg.text((kLeft + kRight) / 2, kHeight - 10, x_label, "label", "middle");
  svg.raw(fmt::format(
      R"svg(<text transform="translate(16 {}) rotate(-90)" class="label" text-anchor="middle">{}</text>)svg",
      px((kTop + kBottom) / 2), escape(y_label)));
  const auto at = [&](const Point& p) { return std::pair(x.at(p.x), p.y > 0 ? y.at(p.y) : kBottom); };
  const std::vector<Point> best = best_line(points);
  if (best.size() > 1) {
    std::string d;
    for (const Point& p : best) d += fmt::format("{}{} {}", d.empty() ? "M" : "L", px(at(p).first), px(at(p).second));
    svg.path(d, R"(class="frontier")");
  }
  LabelPlacer placer;
  for (const Point& p : points) placer.block(at(p).first, at(p).second, 7);
  for (const Point& p : points) {
    const auto [cx, cy] = at(p);
    const std::string color = series_color(p.color);
    if (p.y > 0 && p.y_error > 0) {
      const double top = y.at(p.y + p.y_error);
      const double bottom = std::min(kBottom, y.at(std::max(p.y - p.y_error, p.y / 100)));
      svg.path(fmt::format("M{0} {1}V{2}M{3} {1}H{4}M{3} {2}H{4}", px(cx), px(top), px(bottom), px(cx - 4), px(cx + 4)),
               fmt::format(R"(class="whisker" style="stroke:{}")", color));
    }
    svg.circle(cx, cy, 6.5, fmt::format(R"(class="dot" style="fill:{}")", color), p.label + ": " + p.detail);
    const LabelPlacer::Place place = placer.place(cx, cy, p.label.size());
    svg.text(place.x, place.y, p.label, "name", place.anchor);
  }
  return svg.finish();
}

}  // namespace awq::report
