#pragma once

#include <map>
#include <string>

namespace spade {

// How tenants share a server that is full: a tenant of weight 2 gets twice what one of weight 1
// gets. Those that are not named weigh 1.
class TenantWeights {
 public:
  TenantWeights() = default;
  // All positive and finite.
  explicit TenantWeights(std::map<std::string, double> weights) : weights_(std::move(weights)) {}

  double Of(const std::string& tenant) const {
    const auto found = weights_.find(tenant);
    return found == weights_.end() ? 1.0 : found->second;
  }

 private:
  std::map<std::string, double> weights_;
};

}  // namespace spade
