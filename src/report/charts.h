#pragma once

#include <string>
#include <vector>

namespace awq::report {

/// A point of a scatter plot with an error bar along y.
struct Point {
  std::string label;
  double x = 0, y = 0;
  double y_error = 0;
  std::size_t color = 0;
  std::string detail;  ///< shown when the pointer rests on it
};

/// Points with their names beside them and the line of those that no other point beats in both. y is logarithmic;
/// points with y <= 0 are drawn at the lower edge.
std::string scatter_chart(const std::vector<Point>& points, const std::string& x_label, const std::string& y_label,
                          const std::string& description);

struct Series {
  std::string label;
  std::size_t color = 0;
  std::vector<double> values;  ///< one per step of x
};

struct LineChart {
  std::string x_label, y_label, description;
  bool logarithmic = true;
  double first_x = 0;    ///< x of the first value
  bool legend = true;    ///< names below the picture
  bool stepped = false;  ///< a staircase: values are shares of intervals
};
std::string line_chart(const std::vector<Series>& series, const LineChart& chart);

/// A table of coloured cells: dark is large. Values <= 0 or not finite are drawn as missing.
struct HeatMap {
  std::vector<std::string> rows, columns;
  std::vector<std::vector<double>> values;  ///< [row][column]
  std::string description;
};
std::string heat_map(const HeatMap& map);

/// Bars in groups, one bar per series in each group.
std::string bar_chart(const std::vector<Series>& series, const std::vector<std::string>& groups,
                      const std::string& x_label, const std::string& y_label, const std::string& description);

}  // namespace awq::report
