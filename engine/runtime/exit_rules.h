#pragma once

#include <cstdint>
#include <vector>

#include "engine/runtime/early_tokens.h"
#include "engine/runtime/exit_guards.h"

namespace spade {

// How VERIFIED sequences draft; no influence on what they answer.
struct DraftRule {
  std::vector<float> thresholds;  // (exits of the token calibration); 0: no drafts there
  int32_t max_in_row = 0;         // 0: no drafts at all
};

// Which exits are open to whom, as the loop sets them between steps.
class ExitRules {
 public:
  // `max_in_row`: exits of a FAST sequence without a token of full depth between them.
  explicit ExitRules(int32_t max_in_row) : max_in_row_(max_in_row) {}

  ExitGuards& guards() { return guards_; }
  const ExitGuards& guards() const { return guards_; }
  DraftRule& drafting() { return drafting_; }

  // The offer after `layer` layers, at `boundary`; threshold 0: none.
  ExitOffer OfferTo(const EarlyTokens& early, int32_t boundary, int32_t layer) const;

 private:
  const int32_t max_in_row_;
  DraftRule drafting_;
  ExitGuards guards_;
};

}  // namespace spade
