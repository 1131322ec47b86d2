#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/schedule/tenant_weights.h"

namespace spade {

using TenantIndex = int32_t;

// Who is next among tenants: weighted fair queueing by virtual token counters, as "Fairness in
// Serving Large Language Models" (Sheng et al., OSDI 2024) has it. A tenant's service is the tokens
// it was given (prompt rows that were computed, output, drafts) over its weight; the least served
// one goes first. One that comes back from waiting for nothing is lifted to the least of those that
// wait: it is next, but has saved nothing up. So two tenants that both have requests waiting all
// the time never differ by more than about what runs at once.
//
// At most `max_tenants` are told apart; where all of them have requests, the names that come later
// share one place. Not thread-safe; O(tenants with requests) a call at worst.
class TenantShares {
 public:
  // What later names share; its weight is 1.
  static constexpr TenantIndex kOthers = 0;

  TenantShares(TenantWeights weights, int32_t max_tenants);

  // A sequence of `tenant` comes, waiting; or goes.
  TenantIndex Enter(const std::string& tenant);
  void Leave(TenantIndex tenant, bool was_waiting);
  // One of its sequences is admitted, or waits again.
  void StopWaiting(TenantIndex tenant) { --tenants_[Place(tenant)].num_waiting; }
  void WaitAgain(TenantIndex tenant) { ++tenants_[Place(tenant)].num_waiting; }
  void Charge(TenantIndex tenant, int64_t tokens);

  // Whether `a` is to be served before `b`, now.
  bool Precedes(TenantIndex a, TenantIndex b) const;
  // Fixes ranks by that order, until the next call. True: those that have sequences are ranked
  // otherwise than before.
  bool Rank();
  int32_t rank(TenantIndex tenant) const { return tenants_[Place(tenant)].rank; }
  // Those that have sequences, in no order.
  std::span<const TenantIndex> active() const { return active_; }

  double service(TenantIndex tenant) const { return tenants_[Place(tenant)].service; }
  size_t num_known() const { return by_name_.size(); }

 private:
  struct Tenant {
    std::string name;
    double weight = 1;  // 0: the place is free
    double service = 0;
    int32_t rank = 0;
    int32_t num_sequences = 0;
    int32_t num_waiting = 0;
  };

  static size_t Place(TenantIndex tenant) { return static_cast<size_t>(tenant); }
  TenantIndex Find(const std::string& name);
  void Forget();
  void RaiseFloor();

  const TenantWeights weights_;
  const size_t max_tenants_;
  std::vector<Tenant> tenants_ = std::vector<Tenant>(1);  // kOthers first
  std::unordered_map<std::string, TenantIndex> by_name_;
  std::vector<TenantIndex> active_;
  std::vector<TenantIndex> ranked_;  // scratch
  double floor_ = 0;                 // service that whoever comes to wait has at least; never falls
};

}  // namespace spade
