#include "engine/exit/certify.h"

#include <utility>

#include "engine/exit/binomial.h"

namespace spade {
namespace {

bool Passes(const ExitReplay& replay, std::span<const float> thresholds, double max_mismatch,
            double confidence) {
  for (size_t e = 0; e < thresholds.size(); ++e) {
    if (thresholds[e] <= 0) continue;
    const auto failures = static_cast<double>(replay.mismatched[e]);
    const auto trials = static_cast<double>(replay.exited[e]);
    if (BinomialCdf(failures, trials, max_mismatch) > 1 - confidence) return false;
  }
  return true;
}

}  // namespace

Certificate Certify(const ExitOutcomes& certification, std::span<const std::vector<float>> plan,
                    const LayerCosts& costs, double max_mismatch, double confidence) {
  Certificate certificate;
  certificate.max_mismatch = max_mismatch;
  certificate.prompts = static_cast<int64_t>(certification.prompts());
  certificate.thresholds.assign(certification.exits.size(), 0.0f);
  certificate.exited.assign(certification.exits.size(), 0);
  certificate.mismatched.assign(certification.exits.size(), 0);
  for (const std::vector<float>& thresholds : plan) {
    ExitReplay replay = ReplayExits(certification, thresholds, costs);
    if (!Passes(replay, thresholds, max_mismatch, confidence)) break;
    certificate.thresholds = thresholds;
    certificate.saving = replay.NetSaving();
    certificate.exited = std::move(replay.exited);
    certificate.mismatched = std::move(replay.mismatched);
  }
  return certificate;
}

}  // namespace spade
