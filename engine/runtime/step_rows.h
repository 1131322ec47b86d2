#pragma once

#include <cstdint>

#include "engine/runtime/step_runner.h"

namespace spade {

inline constexpr int64_t kSamplerLanes = 16;  // scratch for as many draws at a time

// Prompt rows [begin, end) of an item whose logits score the prompt token after each.
struct ScoredRows {
  int32_t begin = 0;
  int32_t end = 0;
};
ScoredRows RowsToScore(const StepItem& item);

// What the logits after a row of a generation are for.
enum class RowUse {
  kNothing,      // behind a draft that failed
  kPromptScore,  // of the next prompt token
  kComparison,   // with the early token, given out already
  kToken,        // the next output token
};
RowUse UseOf(const StepItem& item, int32_t position);
// Takes the token that the row gave for that use.
void UseAnswer(StepItem& item, int32_t position, RowUse use, SampledToken token);

// The item is a decision that left at an exit.
inline bool LeftAsDecision(const StepItem& item) {
  return item.generated == nullptr && item.request->decision->exit().has_value();
}

// The item's early exits; null: of a decision, or EXACT.
inline EarlyTokens* EarlyOf(const StepItem& item) {
  return item.generated == nullptr ? nullptr : item.generated->early();
}

// The exit that the item's newest generated row took in this step; null: none.
inline const TokenExitTaken* TokenExitOf(const StepItem& item) {
  const EarlyTokens* const early = EarlyOf(item);
  return early != nullptr && early->taken() ? &*early->taken() : nullptr;
}

// Whether the item's newest row leaves at this boundary.
inline bool LeavesAt(const StepItem& item, int32_t boundary) {
  const TokenExitTaken* const taken = TokenExitOf(item);
  return taken != nullptr && taken->offer.boundary == boundary && !taken->is_shadowed;
}

// The item's newest row, if it waits at an exit: since an earlier step (StepPlan::held), or after
// Climb still or from now on. It gave no token then. Null: it does not.
inline const HeldRow* HeldRowOf(const StepItem& item) {
  const EarlyTokens* const early = EarlyOf(item);
  return early != nullptr && early->held() ? &*early->held() : nullptr;
}

// Whether the item's newest row may wait at an exit. One whose early token is checked does not.
inline bool MayWait(const StepItem& item) {
  const TokenExitTaken* const taken = TokenExitOf(item);
  return item.patience > 0 && (taken == nullptr || !taken->is_shadowed);
}

// The item's last rows whose outputs are needed.
int32_t WantedRows(const StepItem& item);

}  // namespace spade
