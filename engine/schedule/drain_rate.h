#pragma once

#include <algorithm>
#include <cmath>

namespace spade {

// How fast something happens, over about the last ten seconds. Times are seconds of one clock that
// never goes back.
class DrainRate {
 public:
  void Add(double now, double amount) {
    if (total_ == 0) first_ = now;
    recent_ = Recent(now) + amount;
    total_ += amount;
    last_ = now;
  }

  // Per second; 0 where nothing has happened yet.
  double At(double now) const {
    if (total_ == 0) return 0;
    // Of a shorter past less is known than of a longer one; under a tenth of a second, nothing.
    const double age = std::max(now - first_, 0.1);
    return Recent(now) / (kSeconds * (1 - std::exp(-age / kSeconds)));
  }

 private:
  static constexpr double kSeconds = 10;

  double Recent(double now) const { return recent_ * std::exp(-(now - last_) / kSeconds); }

  double total_ = 0;
  double recent_ = 0;  // decayed to last_
  double first_ = 0;
  double last_ = 0;
};

}  // namespace spade
