#include "engine/runtime/exit_rules.h"

namespace spade {
namespace {

// Index of the exit after `layer` layers, or the number of exits.
size_t FindExit(const TokenCalibration& calibration, int32_t layer) {
  size_t exit = 0;
  while (exit < calibration.exits.size() && calibration.exits[exit].layer != layer) ++exit;
  return exit;
}

}  // namespace

ExitOffer ExitRules::OfferTo(const EarlyTokens& early, int32_t boundary, int32_t layer) const {
  ExitOffer offer{boundary, layer, 0, 0};
  const TokenPermit& permit = early.permit();
  const size_t exit = FindExit(*permit.calibration, layer);
  const bool drafts = early.drafts();
  const std::vector<float>& thresholds =
      drafts ? drafting_.thresholds : permit.certificate->thresholds;
  if (exit >= thresholds.size()) return offer;
  offer.threshold = thresholds[exit];
  if (!drafts) offer.threshold *= guards_.Openness(permit.certificate, exit);
  offer.max_in_row = drafts ? drafting_.max_in_row : max_in_row_;
  return offer;
}

}  // namespace spade
