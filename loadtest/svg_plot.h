#pragma once

#include <string>
#include <utility>
#include <vector>

namespace spade::loadtest {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), x ascending; not finite: left out
  bool dashed = false;
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;  // points with x <= 0 are left out
  bool log_y = false;  // likewise
  std::vector<Series> series;
};

// A self-contained <svg> element; empty if no series has two points.
std::string DrawPlot(const Plot& plot);

std::string EscapeHtml(const std::string& text);

}  // namespace spade::loadtest
