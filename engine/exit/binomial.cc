#include "engine/exit/binomial.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"

namespace spade {
namespace {

constexpr int kMaxTerms = 10000;
constexpr double kTiny = 1e-300;
constexpr double kPrecision = 1e-15;

double AwayFromZero(double value) { return std::abs(value) < kTiny ? kTiny : value; }

// The continued fraction of the incomplete beta function by the modified Lentz method; converges
// fast for x < (a + 1) / (a + b + 2).
double BetaContinuedFraction(double a, double b, double x) {
  double c = 1;
  double d = 1 / AwayFromZero(1 - (a + b) * x / (a + 1));
  double result = d;
  for (int term = 1; term < kMaxTerms; ++term) {
    const double m = term;
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / AwayFromZero(1 + even * d);
    c = AwayFromZero(1 + even / c);
    result *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / AwayFromZero(1 + odd * d);
    c = AwayFromZero(1 + odd / c);
    result *= d * c;
    if (std::abs(d * c - 1) < kPrecision) break;
  }
  return result;
}

}  // namespace

double RegularizedIncompleteBeta(double a, double b, double x) {
  SPADE_CHECK(a > 0 && b > 0);
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  const double front = std::exp(log_front);
  if (x < (a + 1) / (a + b + 2)) return front * BetaContinuedFraction(a, b, x) / a;
  return 1 - front * BetaContinuedFraction(b, a, 1 - x) / b;
}

double BinomialCdf(double failures, double trials, double probability) {
  if (trials <= failures) return 1;
  return RegularizedIncompleteBeta(trials - failures, failures + 1, 1 - probability);
}

double FailureRateUpperBound(double failures, double trials, double confidence) {
  if (trials <= failures) return 1;
  double low = 0;
  double high = 1;
  for (int step = 0; step < 100 && high - low > 1e-13; ++step) {
    const double middle = (low + high) / 2;
    (BinomialCdf(failures, trials, middle) > 1 - confidence ? low : high) = middle;
  }
  return high;
}

}  // namespace spade
