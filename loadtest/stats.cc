#include "loadtest/stats.h"

#include <algorithm>
#include <cmath>

namespace spade::loadtest {

double Percentile(const std::vector<double>& ascending, double percent) {
  const double rank = percent / 100 * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, ascending.size() - 1);
  const double share = rank - static_cast<double>(below);
  return ascending[below] + (ascending[above] - ascending[below]) * share;
}

Summary Summarize(std::vector<double> samples) {
  Summary summary;
  if (samples.empty()) return summary;
  std::sort(samples.begin(), samples.end());
  const auto n = static_cast<double>(samples.size());
  double sum = 0;
  for (double sample : samples) sum += sample;
  double squares = 0;
  for (double sample : samples) squares += (sample - sum / n) * (sample - sum / n);

  summary.count = samples.size();
  summary.mean = sum / n;
  summary.stddev = std::sqrt(squares / n);
  summary.min = samples.front();
  summary.max = samples.back();
  for (size_t i = 0; i < kReportedPercentiles.size(); ++i) {
    summary.percentiles[i] = Percentile(samples, kReportedPercentiles[i]);
  }
  for (int i = 0; i < kNumCdfPoints; ++i) summary.cdf[i] = Percentile(samples, i);
  return summary;
}

}  // namespace spade::loadtest
