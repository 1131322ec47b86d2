#pragma once

#include <cstdint>

namespace spade {

// Watches how often an exit's answers differ from full depth's, on a sample of them, and says at
// any time what is known of the rate: bounds that hold at once for all times at which one looks,
// with probability at least `confidence` (a confidence sequence from a beta-binomial mixture
// martingale, after Robbins 1970 and Ville's inequality). Not thread-safe.
class MismatchMonitor {
 public:
  // `limit`: the rate that was certified, in (0, 1); bounds are tightest near it.
  MismatchMonitor(double limit, double confidence);

  void Observe(bool mismatch);
  int64_t trials() const { return trials_; }
  int64_t mismatches() const { return mismatches_; }
  double lower() const;  // of the rate
  double upper() const;
  // The rate is above the limit.
  bool Breached() const;

 private:
  double limit_;
  double log_threshold_;  // the evidence at which a rate is ruled out
  double prior_a_;
  double prior_b_;
  int64_t trials_ = 0;
  int64_t mismatches_ = 0;

  // log of the evidence against `rate`.
  double LogEvidence(double rate) const;
};

}  // namespace spade
