#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/schedule/stage_costs.h"

namespace spade {

struct HoldOptions {
  // Seconds that a generated row waits at an exit for others to go deeper with; 0: none waits.
  double longest_wait = 0.1;
  // Rows that wait for each other; 0: as many as pay most (ChooseHold). For tests and comparisons.
  int32_t batch = 0;
};

// What a row's request wants of time, and what it has.
struct Urgency {
  int32_t priority = 0;                               // lower runs sooner
  int32_t lowest_priority = 0;                        // of all that run: the highest number
  std::optional<double> seconds_left = std::nullopt;  // to its deadline; none: it has none
  int32_t tokens_left = 0;                            // it may still give, the row's own among them
  double seconds_per_token = 0;                       // as it went so far
};

// What the policy decides on, at one boundary.
struct HoldSituation {
  int32_t boundary = 0;  // stages below it
  int32_t num_stages = 1;
  int32_t num_sequences = 0;  // that decode together and may leave early
  int32_t max_parked = 0;     // rows of one sequence that may be parked
  double deeper_share = 1;    // of the rows that reach the boundary: go on beyond it
};

// How many rows should be together before the stages above the boundary run for them; 0: they go at
// once. Deeper stages cost about the same for one row as for several while their weights' bytes are
// the limit; waiting makes use of that, and costs the tokens that sequences standing still do not
// give meanwhile. Pure.
int32_t ChooseHold(const HoldSituation& situation, const StageCosts& costs);

// Seconds that the row may wait at an exit: `longest_wait` at most, no more than would make its
// request miss its deadline if it gives all its tokens, and none where it ranks above another that
// runs: a request does not wait for those that come after it. Pure.
double Patience(const Urgency& urgency, double longest_wait);

// Which rows wait at which boundary: ChooseHold on the share of rows that went deeper lately. How
// long, says Patience. Plain data: not thread-safe.
class HoldPolicy {
 public:
  HoldPolicy(const HoldOptions& options, int32_t num_stages)
      : options_(options), deeper_share_(static_cast<size_t>(num_stages), 1.0) {}

  // Of `reached` rows that might have left at the boundary (at least one), `deeper` did not.
  void Observe(int32_t boundary, int64_t reached, int64_t deeper);

  // Whether `together` rows, which would go beyond the boundary and may all wait, do so for more.
  // Of the situation, boundary and share are filled in.
  bool Waits(int32_t boundary, int64_t together, HoldSituation situation,
             const StageCosts& costs) const;

  double longest_wait() const { return options_.longest_wait; }

 private:
  const HoldOptions options_;
  std::vector<double> deeper_share_;  // by boundary: moving averages
};

}  // namespace spade
