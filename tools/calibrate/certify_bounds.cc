#include "tools/calibrate/certify_bounds.h"

#include <algorithm>
#include <utility>

#include "engine/exit/certify.h"
#include "engine/exit/thresholds.h"

namespace spade {

std::vector<Certificate> CertifyBounds(const ExitOutcomes& planning,
                                       const ExitOutcomes& certification, const LayerCosts& costs,
                                       std::span<const double> max_mismatches, double confidence) {
  std::vector<Certificate> certificates;
  const auto prompts = static_cast<int64_t>(certification.prompts());
  for (const double max_mismatch : max_mismatches) {
    const auto plan = PlanThresholds(planning, costs, {max_mismatch, confidence, prompts});
    Certificate certificate = Certify(certification, plan, costs, max_mismatch, confidence);
    const bool open = std::ranges::any_of(certificate.thresholds, [](float t) { return t > 0; });
    if (open) certificates.push_back(std::move(certificate));
  }
  return certificates;
}

}  // namespace spade
