#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/schedule/drain_rate.h"
#include "engine/schedule/tenant_weights.h"

namespace spade {

// How long a request that comes now will wait: what waits before it, over how fast requests were
// scheduled of late while some waited. Only such time counts, for what an idle server does says
// nothing of what it can do. Times are seconds of a clock that never goes back. Not thread-safe.
class WaitForecast {
 public:
  explicit WaitForecast(TenantWeights weights) : weights_(std::move(weights)) {}

  // One begins to wait; or waits no longer, because it was scheduled or for another reason.
  // Should memory run out, Add has done nothing.
  void Add(const std::string& tenant, int32_t priority, int64_t tokens, double now);
  void Remove(const std::string& tenant, int32_t priority, int64_t tokens, bool scheduled,
              double now);

  // Seconds until one of this tenant and priority would be scheduled, by requests or by prompt
  // tokens, whichever is sooner. nullopt: too little was seen.
  std::optional<double> Wait(const std::string& tenant, int32_t priority, double now) const;
  // Seconds until all that waits would be; the longer of the two.
  std::optional<double> DrainTime(double now) const;

 private:
  struct Amount {
    int32_t requests = 0;
    int64_t tokens = 0;
  };
  struct Rates {
    double requests;
    double tokens;
  };

  double BusyTime(double now) const { return busy_ + (all_.requests > 0 ? now - since_ : 0); }
  std::optional<Rates> RatesAt(double now) const;
  double ShareOf(const std::string& tenant) const;

  const TenantWeights weights_;
  std::map<std::string, std::map<int32_t, Amount>> waiting_;  // by tenant and priority
  Amount all_;
  double busy_ = 0;     // seconds in which something waited, before since_
  double since_ = 0;    // while something waits: since when
  DrainRate requests_;  // by BusyTime
  DrainRate tokens_;
};

}  // namespace spade
