#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace spade::loadtest {

inline constexpr std::array<double, 6> kReportedPercentiles = {50, 75, 90, 95, 99, 99.9};
inline constexpr int kNumCdfPoints = 101;

// Of a set of samples, in their unit. All zero when count is zero.
struct Summary {
  size_t count = 0;
  double mean = 0;
  double stddev = 0;  // of the population
  double min = 0;
  double max = 0;
  std::array<double, kReportedPercentiles.size()> percentiles{};
  std::array<double, kNumCdfPoints> cdf{};  // the 0th to the 100th percentile

  double median() const { return percentiles[0]; }
  double p99() const { return percentiles[4]; }
};

// `percent` in [0, 100] of ascending, non-empty samples, linear between neighbours (as NumPy).
double Percentile(const std::vector<double>& ascending, double percent);

Summary Summarize(std::vector<double> samples);

}  // namespace spade::loadtest
