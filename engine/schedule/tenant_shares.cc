#include "engine/schedule/tenant_shares.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/check.h"

namespace spade {

TenantShares::TenantShares(TenantWeights weights, int32_t max_tenants)
    : weights_(std::move(weights)), max_tenants_(static_cast<size_t>(std::max(max_tenants, 1))) {}

TenantIndex TenantShares::Enter(const std::string& name) {
  // What can fail comes first.
  const TenantIndex index = Find(name);
  if (active_.size() == active_.capacity()) active_.reserve(2 * active_.size() + 1);
  ranked_.reserve(active_.capacity());
  Tenant& tenant = tenants_[Place(index)];
  if (tenant.num_waiting == 0) {
    RaiseFloor();
    tenant.service = std::max(tenant.service, floor_);
  }
  ++tenant.num_waiting;
  if (++tenant.num_sequences == 1) active_.push_back(index);
  return index;
}

void TenantShares::Leave(TenantIndex index, bool was_waiting) {
  Tenant& tenant = tenants_[Place(index)];
  tenant.num_waiting -= was_waiting ? 1 : 0;
  if (--tenant.num_sequences > 0) return;
  active_.erase(std::find(active_.begin(), active_.end(), index));
  // What was served while nobody else was there is nobody's loss.
  if (active_.empty()) floor_ = std::max(floor_, tenant.service);
}

void TenantShares::Charge(TenantIndex index, int64_t tokens) {
  Tenant& tenant = tenants_[Place(index)];
  tenant.service += static_cast<double>(tokens) / tenant.weight;
}

bool TenantShares::Precedes(TenantIndex a, TenantIndex b) const {
  const Tenant& left = tenants_[Place(a)];
  const Tenant& right = tenants_[Place(b)];
  if (left.service != right.service) return left.service < right.service;
  // The one that asks for less: a newcomer is lifted to those that wait, not behind them.
  if (left.num_sequences != right.num_sequences) return left.num_sequences < right.num_sequences;
  return a < b;
}

bool TenantShares::Rank() {
  ranked_ = active_;
  std::sort(ranked_.begin(), ranked_.end(),
            [this](TenantIndex a, TenantIndex b) { return Precedes(a, b); });
  bool changed = false;
  for (size_t i = 0; i < ranked_.size(); ++i) {
    int32_t& rank = tenants_[Place(ranked_[i])].rank;
    changed |= rank != static_cast<int32_t>(i);
    rank = static_cast<int32_t>(i);
  }
  return changed;
}

TenantIndex TenantShares::Find(const std::string& name) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) return found->second;
  if (by_name_.size() >= max_tenants_) Forget();
  if (by_name_.size() >= max_tenants_) return kOthers;
  // A place that was forgotten, or a new one.
  auto free = std::find_if(tenants_.begin() + 1, tenants_.end(), [](const Tenant& tenant) {
    return tenant.num_sequences == 0 && tenant.weight == 0;
  });
  if (free == tenants_.end()) {
    free = tenants_.emplace(tenants_.end());
    free->weight = 0;
  }
  free->name = name;
  const auto index = static_cast<TenantIndex>(free - tenants_.begin());
  by_name_.emplace(name, index);
  free->weight = weights_.Of(name);
  SPADE_CHECK(free->weight > 0);
  free->service = 0;
  return index;
}

// Of those without a sequence, the one whose past matters least.
void TenantShares::Forget() {
  Tenant* least = nullptr;
  for (Tenant& tenant : std::span(tenants_).subspan(1)) {
    if (tenant.weight == 0 || tenant.num_sequences > 0) continue;
    if (least == nullptr || tenant.service < least->service) least = &tenant;
  }
  if (least == nullptr) return;
  by_name_.erase(least->name);
  *least = Tenant();
  least->weight = 0;
}

// To the least service of those that wait; where none does, of those that run.
void TenantShares::RaiseFloor() {
  constexpr double kNobody = std::numeric_limits<double>::max();
  double waiting = kNobody;
  double running = kNobody;
  for (const TenantIndex index : active_) {
    const Tenant& tenant = tenants_[Place(index)];
    double& least = tenant.num_waiting > 0 ? waiting : running;
    least = std::min(least, tenant.service);
  }
  const double least = waiting != kNobody ? waiting : running;
  if (least != kNobody) floor_ = std::max(floor_, least);
}

}  // namespace spade
