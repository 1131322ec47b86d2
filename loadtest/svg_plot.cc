#include "loadtest/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace spade::loadtest {
namespace {

constexpr double kWidth = 560;
constexpr double kHeight = 320;
constexpr double kLeft = 62;
constexpr double kRight = 16;
constexpr double kTop = 34;
constexpr double kBottom = 46;
constexpr double kLegendStep = 16;
// Readable for the colour-blind, on light and on dark.
constexpr std::array kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};

// Maps values of one axis to pixels.
class Axis final {
 public:
  Axis(bool log, double from_pixel, double to_pixel)
      : log_(log), from_pixel_(from_pixel), to_pixel_(to_pixel) {}

  bool Shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }

  void Include(double value) {
    low_ = std::min(low_, Scale(value));
    high_ = std::max(high_, Scale(value));
  }

  // After the last Include.
  void Round() {
    if (log_) {
      low_ = std::floor(low_);
      high_ = std::max(std::ceil(high_), low_ + 1);
      step_ = std::max(1.0, std::ceil((high_ - low_) / 8));
      return;
    }
    low_ = std::min(low_, 0.0);
    if (high_ <= low_) high_ = low_ + 1;
    const double rough = (high_ - low_) / 5;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double digit = rough / power;
    step_ = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
    high_ = std::ceil(high_ / step_) * step_;
  }

  double Pixel(double value) const {
    return from_pixel_ + (Scale(value) - low_) / (high_ - low_) * (to_pixel_ - from_pixel_);
  }

  std::vector<double> Ticks() const {
    std::vector<double> ticks;
    for (double at = low_; at <= high_ + step_ * 1e-6; at += step_) {
      ticks.push_back(log_ ? std::pow(10, at) : at);
    }
    return ticks;
  }

 private:
  double Scale(double value) const { return log_ ? std::log10(value) : value; }

  bool log_;
  double from_pixel_;
  double to_pixel_;
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
  double step_ = 1;
};

std::string TickText(double value) {
  if (std::abs(value) >= 1e6) return absl::StrFormat("%gM", value / 1e6);
  if (std::abs(value) >= 1e4) return absl::StrFormat("%gk", value / 1e3);
  return absl::StrFormat("%.4g", std::abs(value) < 1e-9 ? 0 : value);
}

void DrawAxes(std::string& svg, const Plot& plot, const Axis& x, const Axis& y) {
  const double bottom = kHeight - kBottom;
  for (double tick : x.Ticks()) {
    absl::StrAppendFormat(&svg,
                          "<line class='grid' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>"
                          "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n",
                          x.Pixel(tick), kTop, x.Pixel(tick), bottom, x.Pixel(tick), bottom + 16,
                          TickText(tick));
  }
  for (double tick : y.Ticks()) {
    absl::StrAppendFormat(&svg,
                          "<line class='grid' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>"
                          "<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>\n",
                          kLeft, y.Pixel(tick), kWidth - kRight, y.Pixel(tick), kLeft - 6,
                          y.Pixel(tick) + 4, TickText(tick));
  }
  absl::StrAppendFormat(&svg,
                        "<text class='title' x='%.1f' y='18'>%s</text>"
                        "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>"
                        "<text transform='translate(14 %.1f) rotate(-90)' "
                        "text-anchor='middle'>%s</text>\n",
                        kLeft, EscapeHtml(plot.title), (kLeft + kWidth - kRight) / 2, kHeight - 10,
                        EscapeHtml(plot.x_label), (kTop + bottom) / 2, EscapeHtml(plot.y_label));
}

void DrawSeries(std::string& svg, const Series& series, size_t index, const Axis& x,
                const Axis& y) {
  const char* color = kColors[index % kColors.size()];
  absl::StrAppendFormat(&svg, "<polyline stroke='%s'%s points='", color,
                        series.dashed ? " stroke-dasharray='6 4'" : "");
  for (const auto& [at, value] : series.points) {
    if (!x.Shows(at) || !y.Shows(value)) continue;
    absl::StrAppendFormat(&svg, "%.1f,%.1f ", x.Pixel(at), y.Pixel(value));
  }
  const double legend = kTop + 12 + kLegendStep * static_cast<double>(index);
  absl::StrAppendFormat(&svg, "'/><text x='%.1f' y='%.1f' fill='%s' style='fill:%s'>%s</text>\n",
                        kLeft + 10, legend, color, color, EscapeHtml(series.name));
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string DrawPlot(const Plot& plot) {
  Axis x(plot.log_x, kLeft, kWidth - kRight);
  Axis y(plot.log_y, kHeight - kBottom, kTop);
  size_t most_points = 0;
  for (const Series& series : plot.series) {
    size_t num_points = 0;
    for (const auto& [at, value] : series.points) {
      if (!x.Shows(at) || !y.Shows(value)) continue;
      x.Include(at);
      y.Include(value);
      ++num_points;
    }
    most_points = std::max(most_points, num_points);
  }
  if (most_points < 2) return "";
  x.Round();
  y.Round();
  std::string svg = absl::StrFormat("<svg viewBox='0 0 %.0f %.0f' role='img'>\n", kWidth, kHeight);
  DrawAxes(svg, plot, x, y);
  for (size_t i = 0; i < plot.series.size(); ++i) DrawSeries(svg, plot.series[i], i, x, y);
  return svg + "</svg>\n";
}

}  // namespace spade::loadtest
