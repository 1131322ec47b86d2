#include "engine/exit/mismatch_monitor.h"

#include <cmath>

#include "kernels/check.h"

namespace spade {
namespace {

constexpr int kBisections = 50;

double LogBeta(double a, double b) { return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b); }

}  // namespace

MismatchMonitor::MismatchMonitor(double limit, double confidence)
    : limit_(limit),
      log_threshold_(-std::log1p(-confidence)),
      prior_a_(1),
      prior_b_((1 - limit) / limit) {
  SPADE_CHECK(limit > 0 && limit < 1 && confidence > 0 && confidence < 1);
}

void MismatchMonitor::Observe(bool mismatch) {
  ++trials_;
  if (mismatch) ++mismatches_;
}

double MismatchMonitor::LogEvidence(double rate) const {
  const auto failures = static_cast<double>(mismatches_);
  const auto successes = static_cast<double>(trials_ - mismatches_);
  const double mixture =
      LogBeta(prior_a_ + failures, prior_b_ + successes) - LogBeta(prior_a_, prior_b_);
  const double at_rate = (failures > 0 ? failures * std::log(rate) : 0) +
                         (successes > 0 ? successes * std::log1p(-rate) : 0);
  return mixture - at_rate;
}

// The evidence falls from rate 0 to the observed rate and rises from there to 1.
double MismatchMonitor::lower() const {
  if (mismatches_ == 0) return 0;
  double low = 0;
  double high = static_cast<double>(mismatches_) / static_cast<double>(trials_);
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (LogEvidence(middle) >= log_threshold_ ? low : high) = middle;
  }
  return low;
}

double MismatchMonitor::upper() const {
  if (trials_ == 0 || mismatches_ == trials_) return 1;
  double low = static_cast<double>(mismatches_) / static_cast<double>(trials_);
  double high = 1;
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (LogEvidence(middle) >= log_threshold_ ? high : low) = middle;
  }
  return high;
}

bool MismatchMonitor::Breached() const {
  const bool above = static_cast<double>(mismatches_) > limit_ * static_cast<double>(trials_);
  return above && LogEvidence(limit_) >= log_threshold_;
}

}  // namespace spade
