#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/schedule/stage_costs.h"

namespace spade {

// What drafting at one exit below one threshold may expect.
struct DraftOption {
  int32_t boundary = 0;  // stages run before the exit
  float threshold = 0;
  double share = 0;       // of the tokens: sure enough to be drafted
  double acceptance = 0;  // of those: full depth draws the same
};

// What the policy decides on.
struct DraftSituation {
  int32_t num_stages = 1;
  int64_t num_rows = 1;      // sequences that decode together
  int32_t max_in_row = 0;    // drafts of one sequence without a verification, at most
  double check_seconds = 0;  // of one boundary's guesses, all rows
  double head_seconds = 0;   // of the output head, all rows
};

struct DraftChoice {
  int32_t option = -1;  // -1: drafting loses
  int32_t max_in_row = 0;
  double speedup = 1;  // predicted, over decoding without drafts
};

// The option and the number of drafts in a row that give most tokens a second. A run of drafts
// costs the stages below the exit once a token, and one pass of the stages above it for all of them
// together, which the longer the run pays the more, and is wasted from the first draft on that
// fails. Pure.
DraftChoice ChooseDrafting(std::span<const DraftOption> options, const DraftSituation& situation,
                           const StageCosts& costs);

}  // namespace spade
