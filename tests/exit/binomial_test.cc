#include "engine/exit/binomial.h"

#include <gtest/gtest.h>

#include <cmath>

namespace spade {
namespace {

// P(at most k of n), summed term by term in logarithms.
double SummedCdf(int k, int n, double p) {
  double sum = 0;
  for (int i = 0; i <= k; ++i) {
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1) - std::lgamma(n - i + 1) +
                    i * std::log(p) + (n - i) * std::log1p(-p));
  }
  return sum;
}

TEST(IncompleteBeta, MatchesClosedForms) {
  EXPECT_NEAR(RegularizedIncompleteBeta(1, 1, 0.3), 0.3, 1e-14);
  EXPECT_NEAR(RegularizedIncompleteBeta(2, 1, 0.3), 0.09, 1e-14);
  EXPECT_NEAR(RegularizedIncompleteBeta(1, 3, 0.3), 1 - std::pow(0.7, 3), 1e-14);
  EXPECT_NEAR(RegularizedIncompleteBeta(7.5, 7.5, 0.5), 0.5, 1e-14);
  EXPECT_EQ(RegularizedIncompleteBeta(2, 3, 0), 0);
  EXPECT_EQ(RegularizedIncompleteBeta(2, 3, 1), 1);
}

TEST(BinomialCdf, EqualsTheSumOfItsTerms) {
  for (const int n : {1, 10, 299, 5000}) {
    for (const int k : {0, 1, 4, 38}) {
      if (k >= n) continue;
      for (const double p : {0.001, 0.01, 0.2, 0.9}) {
        const double expected = SummedCdf(k, n, p);
        EXPECT_NEAR(BinomialCdf(k, n, p), expected, 1e-10 + 1e-9 * expected)
            << k << " of " << n << " at " << p;
      }
    }
  }
}

TEST(FailureRateUpperBound, GivesTheTextbookSampleSizes) {
  // The most failures whose bound stays within the rate, at 95 % confidence.
  struct Case {
    int failures, trials;
    double rate;
  };
  for (const Case& c :
       {Case{0, 299, 0.01}, Case{4, 1000, 0.01}, Case{12, 2000, 0.01}, Case{38, 5000, 0.01},
        Case{0, 598, 0.005}, Case{16, 5000, 0.005}, Case{12, 1000, 0.02}}) {
    EXPECT_LE(FailureRateUpperBound(c.failures, c.trials, 0.95), c.rate) << c.trials;
    EXPECT_GT(FailureRateUpperBound(c.failures + 1, c.trials, 0.95), c.rate) << c.trials;
  }
  EXPECT_GT(FailureRateUpperBound(0, 298, 0.95), 0.01);
}

TEST(FailureRateUpperBound, SolvesTheZeroFailureFormula) {
  for (const int n : {1, 10, 100000}) {
    EXPECT_NEAR(FailureRateUpperBound(0, n, 0.95), 1 - std::pow(0.05, 1.0 / n), 1e-12);
  }
}

TEST(FailureRateUpperBound, IsOneWithoutEvidence) {
  EXPECT_EQ(FailureRateUpperBound(0, 0, 0.95), 1);
  EXPECT_EQ(FailureRateUpperBound(3, 3, 0.95), 1);
}

}  // namespace
}  // namespace spade
