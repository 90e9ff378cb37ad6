#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace awq::report {

/// Text that is safe inside HTML and SVG, attribute values included. Invalid UTF-8 becomes U+FFFD.
std::string escape(std::string_view text);

/// Colour of the i-th series as a CSS variable. The eight colours can be told apart with the common forms of colour
/// blindness (after Okabe and Ito) and have a light and a dark variant; further series repeat them.
std::string series_color(std::size_t index);

/// A plot's scale: values to pixels, linear or logarithmic.
class Axis {
 public:
  /// From `low` to `high` (widened where they are equal) on pixels [begin, end]; a logarithmic axis needs low > 0.
  Axis(double low, double high, double begin, double end, bool logarithmic);
  double at(double value) const;
  /// Round values to draw lines at, few enough for `most` labels.
  std::vector<double> ticks(std::size_t most) const;

 private:
  double low_, high_, begin_, end_;
  bool logarithmic_;
};

/// A number for people: three significant digits, "1.2e-05" only where it has to be.
std::string short_number(double value);
/// "15.8 MB"
std::string size_text(double bytes);

/// One coordinate or length: at most two decimals.
std::string px(double value);

/// An SVG image that grows with its column. `label` is what a screen reader says.
class Svg {
 public:
  Svg(double width, double height, std::string_view label);
  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  void text(double x, double y, std::string_view text, std::string_view css_class, std::string_view anchor = "start");
  void rect(double x, double y, double width, double height, std::string_view style, std::string_view title = "");
  void circle(double x, double y, double radius, std::string_view style, std::string_view title = "");
  void path(const std::string& d, std::string_view style);
  void raw(std::string_view markup) { body_ += markup; }
  std::string finish() const;

 private:
  double width_, height_;
  std::string label_, body_;
};

/// Horizontal grid lines with labels on the left, vertical ones with labels below.
void draw_grid(Svg& svg, const Axis& x, const Axis& y, double left, double right, double top, double bottom,
               const std::vector<double>& x_ticks, const std::vector<double>& y_ticks);

}  // namespace awq::report
