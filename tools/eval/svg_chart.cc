#include "tools/eval/svg_chart.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace spade {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 340;
constexpr double kLeft = 62;
constexpr double kRight = 18;
constexpr double kTop = 34;
constexpr double kBottom = 76;
constexpr const char* kColors[] = {"#3b6fb6", "#d1603d", "#3f9b6c", "#8a63ae",
                                   "#b98b1f", "#4aa6b5", "#a84a6b", "#6b6b6b"};

const char* Color(size_t index) { return kColors[index % std::size(kColors)]; }

// A linear axis with round ticks.
struct Axis {
  double low = 0;
  double high = 1;
  double step = 0.2;
  bool percent = false;

  double Share(double value) const { return (value - low) / (high - low); }
  std::string Tick(double value) const {
    if (std::abs(value) < step / 1000) value = 0;
    return percent ? absl::StrFormat("%g%%", 100 * value) : absl::StrFormat("%g", value);
  }
};

Axis MakeAxis(double low, double high, bool percent) {
  if (!(high > low)) high = low + 1;
  const double raw = (high - low) / 5;
  const double magnitude = std::pow(10, std::floor(std::log10(raw)));
  double step = magnitude;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (step < raw) step = magnitude * factor;
  }
  return {std::floor(low / step) * step, std::ceil(high / step) * step, step, percent};
}

double XOf(const Axis& axis, double value) {
  return kLeft + axis.Share(value) * (kWidth - kLeft - kRight);
}
double YOf(const Axis& axis, double value) {
  return kHeight - kBottom - axis.Share(value) * (kHeight - kTop - kBottom);
}

void AppendText(std::string& svg, double x, double y, const char* anchor, const std::string& text,
                const char* more = "") {
  absl::StrAppendFormat(&svg, "<text x='%.1f' y='%.1f' text-anchor='%s' %s>%s</text>", x, y, anchor,
                        more, EscapeHtml(text));
}

void AppendAxes(std::string& svg, const Chart& chart, const Axis& x, const Axis& y) {
  for (double value = y.low; value <= y.high + y.step / 2; value += y.step) {
    absl::StrAppendFormat(&svg, "<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>",
                          kLeft, kWidth - kRight, YOf(y, value), YOf(y, value));
    AppendText(svg, kLeft - 6, YOf(y, value) + 4, "end", y.Tick(value));
  }
  for (double value = x.low; value <= x.high + x.step / 2; value += x.step) {
    AppendText(svg, XOf(x, value), kHeight - kBottom + 16, "middle", x.Tick(value));
  }
  AppendText(svg, kLeft, 18, "start", chart.title, "class='title'");
  AppendText(svg, (kLeft + kWidth - kRight) / 2, kHeight - kBottom + 34, "middle", chart.x_label);
  const double middle = (kTop + kHeight - kBottom) / 2;
  AppendText(svg, 14, middle, "middle", chart.y_label,
             absl::StrFormat("transform='rotate(-90 14 %.1f)'", middle).c_str());
}

void AppendLegend(std::string& svg, const std::vector<std::string>& names, double y) {
  double x = kLeft;
  for (size_t i = 0; i < names.size(); ++i) {
    absl::StrAppendFormat(&svg, "<rect x='%.1f' y='%.1f' width='10' height='10' fill='%s'/>", x,
                          y - 9, Color(i));
    AppendText(svg, x + 14, y, "start", names[i]);
    x += 30 + 6.6 * double(names[i].size());
  }
}

std::string OpenSvg(double height) {
  return absl::StrFormat("<svg viewBox='0 0 %.0f %.0f' role='img'>", kWidth, height);
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string RenderLineChart(const Chart& chart) {
  double bounds[4] = {INFINITY, -INFINITY, 0, -INFINITY};
  for (const ChartSeries& series : chart.series) {
    for (const auto& [px, py] : series.points) {
      bounds[0] = std::min(bounds[0], px);
      bounds[1] = std::max(bounds[1], px);
      bounds[2] = std::min(bounds[2], py);
      bounds[3] = std::max(bounds[3], py);
    }
  }
  if (!(bounds[1] >= bounds[0])) return "";
  const Axis x = MakeAxis(bounds[0], bounds[1], chart.x_percent);
  const Axis y = MakeAxis(bounds[2], bounds[3], chart.y_percent);
  std::string svg = OpenSvg(kHeight);
  AppendAxes(svg, chart, x, y);
  std::vector<std::string> names;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const ChartSeries& series = chart.series[i];
    names.push_back(series.name);
    std::string path;
    for (const auto& [px, py] : series.points) {
      absl::StrAppendFormat(&path, "%.1f,%.1f ", XOf(x, px), YOf(y, py));
      absl::StrAppendFormat(&svg, "<circle cx='%.1f' cy='%.1f' r='%g' fill='%s'/>", XOf(x, px),
                            YOf(y, py), series.markers_only ? 4.5 : 2.2, Color(i));
    }
    if (series.markers_only) continue;
    absl::StrAppendFormat(&svg, "<polyline points='%s' fill='none' stroke='%s'/>", path, Color(i));
  }
  AppendLegend(svg, names, kHeight - 12);
  return svg + "</svg>";
}

std::string RenderShareBars(const std::string& title, const std::vector<std::string>& parts,
                            const std::vector<ShareBar>& bars) {
  constexpr double kBarLeft = 110;
  constexpr double kBarHeight = 24;
  const double height = kTop + double(bars.size()) * (kBarHeight + 8) + 34;
  std::string svg = OpenSvg(height);
  AppendText(svg, kBarLeft, 18, "start", title, "class='title'");
  double y = kTop;
  for (const ShareBar& bar : bars) {
    AppendText(svg, kBarLeft - 8, y + 16, "end", bar.name);
    double x = kBarLeft;
    for (size_t i = 0; i < bar.shares.size(); ++i) {
      const double width = bar.shares[i] * (kWidth - kBarLeft - kRight);
      absl::StrAppendFormat(&svg,
                            "<rect x='%.1f' y='%.1f' width='%.1f' height='%.0f' "
                            "fill='%s'><title>%.2f%%</title></rect>",
                            x, y, width, kBarHeight, Color(i), 100 * bar.shares[i]);
      x += width;
    }
    y += kBarHeight + 8;
  }
  AppendLegend(svg, parts, height - 10);
  return svg + "</svg>";
}

}  // namespace spade
