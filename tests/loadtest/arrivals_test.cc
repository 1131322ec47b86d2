#include "loadtest/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "loadtest/stats.h"

namespace spade::loadtest {
namespace {

constexpr size_t kCount = 100'000;
constexpr double kRate = 50;

Summary Gaps(const std::vector<double>& times) {
  std::vector<double> gaps;
  for (size_t i = 0; i < times.size(); ++i) gaps.push_back(times[i] - (i > 0 ? times[i - 1] : 0));
  return Summarize(gaps);
}

TEST(ArrivalsTest, PoissonGapsHaveTheirMeanAsDeviation) {
  const Summary gaps = Gaps(MakeArrivals(kCount, kRate, /*burstiness=*/1, /*seed=*/3));
  EXPECT_NEAR(gaps.mean, 1 / kRate, 1e-9);
  EXPECT_NEAR(gaps.stddev / gaps.mean, 1, 0.02);
}

TEST(ArrivalsTest, PoissonGapsAreExponential) {
  const Summary gaps = Gaps(MakeArrivals(kCount, kRate, /*burstiness=*/1, /*seed=*/3));
  EXPECT_NEAR(gaps.median(), std::log(2) / kRate, 0.02 / kRate);
  EXPECT_NEAR(gaps.p99(), std::log(100) / kRate, 0.1 / kRate);
}

TEST(ArrivalsTest, BurstinessIsTheGammaShape) {
  for (const double shape : {0.25, 4.0}) {
    const Summary gaps = Gaps(MakeArrivals(kCount, kRate, shape, /*seed=*/3));
    EXPECT_NEAR(gaps.stddev / gaps.mean, 1 / std::sqrt(shape), 0.03) << shape;
  }
}

TEST(ArrivalsTest, InfiniteBurstinessIsAConstantGap) {
  const std::vector<double> times =
      MakeArrivals(4, 10, std::numeric_limits<double>::infinity(), /*seed=*/1);
  EXPECT_EQ(times, (std::vector<double>{0.1, 0.2, 0.3, 0.4}));
}

TEST(ArrivalsTest, AscendAndEndAtCountOverRate) {
  const std::vector<double> times = MakeArrivals(1000, kRate, 1, /*seed=*/9);
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  EXPECT_NEAR(times.back(), 1000 / kRate, 1e-9);
}

TEST(ArrivalsTest, SeedDecidesThem) {
  EXPECT_EQ(MakeArrivals(100, kRate, 1, 5), MakeArrivals(100, kRate, 1, 5));
  EXPECT_NE(MakeArrivals(100, kRate, 1, 5), MakeArrivals(100, kRate, 1, 6));
}

TEST(ArrivalsTest, NoneAreNone) { EXPECT_TRUE(MakeArrivals(0, kRate, 1, 1).empty()); }

}  // namespace
}  // namespace spade::loadtest
