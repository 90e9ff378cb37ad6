#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace awq::report {
namespace {

/// Length of the valid UTF-8 sequence at the start of `text`, 0 when there is none.
std::size_t scalar_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if ((first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) || (first == 0xF0 && byte(1) < 0x90) ||
      (first == 0xF4 && byte(1) > 0x8F)) {
    return 0;
  }
  return length;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = scalar_length(text);
    const char c = text.front();
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') {
      out += "\xEF\xBF\xBD";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return out;
}

std::string series_color(std::size_t index) { return fmt::format("var(--s{})", index % 8); }

Axis::Axis(double low, double high, double begin, double end, bool logarithmic)
    : low_(low), high_(high), begin_(begin), end_(end), logarithmic_(logarithmic) {
  if (logarithmic_) {
    low_ = std::log10(std::max(low, 1e-300));
    high_ = std::log10(std::max(high, 1e-300));
  }
  if (!(high_ - low_ > 1e-12)) {
    const double room = logarithmic_ ? 0.5 : std::max(std::fabs(low_) * 0.1, 1e-9);
    low_ -= room;
    high_ += room;
  }
}

double Axis::at(double value) const {
  const double v = logarithmic_ ? std::log10(std::max(value, 1e-300)) : value;
  return begin_ + (v - low_) / (high_ - low_) * (end_ - begin_);
}

std::vector<double> Axis::ticks(std::size_t most) const {
  std::vector<double> out;
  if (logarithmic_) {
    // 1, 2, 5 of each decade while they fit, else powers of ten, else every n-th power.
    for (const double mantissa : {1.0, 2.0, 5.0}) {
      for (double e = std::floor(low_); e <= high_; e += 1) {
        const double value = mantissa * std::pow(10, e);
        if (std::log10(value) >= low_ - 1e-9 && std::log10(value) <= high_ + 1e-9) out.push_back(value);
      }
      if (mantissa == 1.0 && out.size() * 3 > most && out.size() >= 2) break;
    }
    std::sort(out.begin(), out.end());
    while (out.size() > most) {
      std::vector<double> every_other;
      for (std::size_t i = 0; i < out.size(); i += 2) every_other.push_back(out[i]);
      out = std::move(every_other);
    }
    return out;
  }
  const double rough = (high_ - low_) / static_cast<double>(std::max<std::size_t>(most, 2) - 1);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double nice : {1.0, 2.0, 2.5, 5.0}) {
    if (nice * power >= rough * 0.999) {
      step = nice * power;
      break;
    }
  }
  for (double v = std::ceil(low_ / step - 1e-9) * step; v <= high_ + step * 1e-9; v += step) {
    out.push_back(std::fabs(v) < step * 1e-9 ? 0 : v);
  }
  return out;
}

std::string short_number(double value) {
  const double size = std::fabs(value);
  if (value == 0) return "0";
  if (size >= 1e6 || size < 1e-4) return fmt::format("{:.2g}", value);
  if (size >= 1000) return fmt::format("{:.0f}", value);
  std::string out = fmt::format("{:.3g}", value);
  return out;
}

std::string size_text(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.2f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.0f} kB", bytes / 1e3);
}

std::string px(double value) {
  std::string out = fmt::format("{:.2f}", value);
  while (out.ends_with('0')) out.pop_back();
  if (out.ends_with('.')) out.pop_back();
  return out == "-0" ? "0" : out;
}

Svg::Svg(double width, double height, std::string_view label) : width_(width), height_(height), label_(escape(label)) {}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  body_ +=
      fmt::format(R"(<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>)", px(x1), px(y1), px(x2), px(y2), css_class);
}

void Svg::text(double x, double y, std::string_view text, std::string_view css_class, std::string_view anchor) {
  body_ += fmt::format(R"(<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>)", px(x), px(y), css_class, anchor,
                       escape(text));
}

void Svg::rect(double x, double y, double width, double height, std::string_view style, std::string_view title) {
  body_ += fmt::format(R"(<rect x="{}" y="{}" width="{}" height="{}" {}>)", px(x), px(y), px(width), px(height), style);
  if (!title.empty()) body_ += "<title>" + escape(title) + "</title>";
  body_ += "</rect>";
}

void Svg::circle(double x, double y, double radius, std::string_view style, std::string_view title) {
  body_ += fmt::format(R"(<circle cx="{}" cy="{}" r="{}" {}>)", px(x), px(y), px(radius), style);
  if (!title.empty()) body_ += "<title>" + escape(title) + "</title>";
  body_ += "</circle>";
}

void Svg::path(const std::string& d, std::string_view style) { body_ += fmt::format(R"(<path d="{}" {}/>)", d, style); }

std::string Svg::finish() const {
  return fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>)", px(width_), px(height_), label_,
                     body_);
}

void draw_grid(Svg& svg, const Axis& x, const Axis& y, double left, double right, double top, double bottom,
               const std::vector<double>& x_ticks, const std::vector<double>& y_ticks) {
  for (const double tick : y_ticks) {
    svg.line(left, y.at(tick), right, y.at(tick), "grid");
    svg.text(left - 8, y.at(tick) + 4, short_number(tick), "tick", "end");
  }
  for (const double tick : x_ticks) {
    svg.line(x.at(tick), top, x.at(tick), bottom, "grid");
    svg.text(x.at(tick), bottom + 18, short_number(tick), "tick", "middle");
  }
}

}  // namespace awq::report
