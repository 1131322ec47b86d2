#pragma once

#include <string>
#include <utility>
#include <vector>

namespace spade {

struct ChartSeries {
  std::string name;
  std::vector<std::pair<double, double>> points;
  bool markers_only = false;
};

struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool x_percent = false;  // ticks as percent
  bool y_percent = false;
  std::vector<ChartSeries> series;
};

// Lines over numeric axes as an inline SVG element; no script, no outside resource.
std::string RenderLineChart(const Chart& chart);

// Stacked shares, one horizontal bar a name; `parts` name the colours. (bars, parts)
struct ShareBar {
  std::string name;
  std::vector<double> shares;
};
std::string RenderShareBars(const std::string& title, const std::vector<std::string>& parts,
                            const std::vector<ShareBar>& bars);

std::string EscapeHtml(const std::string& text);

}  // namespace spade
