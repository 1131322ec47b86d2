#include "loadtest/arrivals.h"

#include <cmath>
#include <random>

#include "loadtest/rng.h"

namespace spade::loadtest {
namespace {

constexpr uint64_t kArrivalStream = 0xa1;

}  // namespace

std::vector<double> MakeArrivals(size_t count, double rate, double burstiness, uint64_t seed) {
  std::vector<double> times(count);
  if (count == 0) return times;
  if (std::isinf(burstiness)) {
    for (size_t i = 0; i < count; ++i) times[i] = static_cast<double>(i + 1) / rate;
    return times;
  }
  Rng rng(seed, kArrivalStream);
  std::gamma_distribution<double> gap(burstiness, 1 / (rate * burstiness));
  double now = 0;
  for (double& time : times) time = now += gap(rng);
  if (now <= 0) return times;
  const double stretch = static_cast<double>(count) / rate / now;
  for (double& time : times) time *= stretch;
  return times;
}

}  // namespace spade::loadtest
