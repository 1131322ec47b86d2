#pragma once

namespace spade {

// I_x(a, b), the distribution function of Beta(a, b) at x; a, b > 0.
double RegularizedIncompleteBeta(double a, double b, double x);

// P(at most `failures` of `trials` fail) when each fails with `probability`: the p-value of "the
// failure rate exceeds `probability`". Counts may be fractional (the continuous extension), so that
// counts scaled to another sample size can be tested. 1 where trials <= failures.
double BinomialCdf(double failures, double trials, double probability);

// Exact one-sided (Clopper-Pearson) bound: the failure rate lies at or below it with at least
// `confidence`, whatever the rate is. 1 where trials <= failures.
double FailureRateUpperBound(double failures, double trials, double confidence);

}  // namespace spade
