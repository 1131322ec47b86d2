#include "loadtest/stats.h"

#include <gtest/gtest.h>

#include <vector>

namespace spade::loadtest {
namespace {

TEST(PercentileTest, InterpolatesBetweenNeighboursAsNumpyDoes) {
  // numpy.percentile([1, 2, 4, 8], [0, 25, 50, 90, 100])
  const std::vector<double> samples = {1, 2, 4, 8};
  EXPECT_DOUBLE_EQ(Percentile(samples, 0), 1);
  EXPECT_DOUBLE_EQ(Percentile(samples, 25), 1.75);
  EXPECT_DOUBLE_EQ(Percentile(samples, 50), 3);
  EXPECT_NEAR(Percentile(samples, 90), 6.8, 1e-12);
  EXPECT_DOUBLE_EQ(Percentile(samples, 100), 8);
}

TEST(SummarizeTest, SortsAndUsesThePopulationsDeviation) {
  const Summary summary = Summarize({8, 1, 4, 2});
  EXPECT_EQ(summary.count, 4u);
  EXPECT_DOUBLE_EQ(summary.mean, 3.75);
  EXPECT_NEAR(summary.stddev, 2.680951, 1e-6);  // numpy.std
  EXPECT_DOUBLE_EQ(summary.min, 1);
  EXPECT_DOUBLE_EQ(summary.max, 8);
  EXPECT_DOUBLE_EQ(summary.median(), 3);
  EXPECT_DOUBLE_EQ(summary.cdf.front(), 1);
  EXPECT_DOUBLE_EQ(summary.cdf.back(), 8);
}

TEST(SummarizeTest, OneSampleIsEveryPercentile) {
  const Summary summary = Summarize({7});
  EXPECT_DOUBLE_EQ(summary.p99(), 7);
  EXPECT_DOUBLE_EQ(summary.stddev, 0);
}

TEST(SummarizeTest, NoSamplesAreAllZero) {
  const Summary summary = Summarize({});
  EXPECT_EQ(summary.count, 0u);
  EXPECT_DOUBLE_EQ(summary.p99(), 0);
}

}  // namespace
}  // namespace spade::loadtest
