#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>

#include "engine/runtime/exit_metrics.h"
#include "engine/runtime/exit_rules.h"
#include "engine/runtime/request_state.h"

namespace spade {

// Completes a sample of FAST answers to full depth and tells exits and metrics what it finds.
// A token's row is completed in its own step. A decision runs again by itself, in the
// background and one at a time, with a SPADE pass from every exit beside it: so it also says what
// each exit would have answered. Owned by the loop.
class ShadowChecks {
 public:
  // `share`: of the answers, in [0, 1]. The pointers outlive this.
  ShadowChecks(double share, int32_t num_layers, ExitRules* rules, ExitMetrics* metrics);

  // Whether the next early answer is to be checked.
  bool Sample() { return share_ > 0 && draw_(random_) < share_; }

  // A token's row has run to full depth, which drew `full`.
  void OnToken(const EarlyTokens& early, const TokenExitTaken& exit, TokenId full);

  // Takes a decision that was answered in mode FAST for a check. Dropped where many wait.
  void Enqueue(const DecisionState& state, const Decision& answer);
  // The next decision to run, if one waits and none runs; its id is the caller's to set.
  std::unique_ptr<RequestState> Start();
  // The decision that Start gave is over; its logits are there if it was `answered`.
  void Finish(const DecisionState& state, bool answered);

 private:
  struct Waiting {
    DecideRequest request;
    ExitPermit permit;
    std::optional<ExitTaken> exit;
    int32_t label = 0;
    double layer_rows_saved = 0;
    double layer_rows_full = 0;
  };

  void Report(const Certificate* certificate, size_t exit, int32_t layer, bool agreed);
  double OracleSaving(const DecisionState& state, int32_t full_label) const;

  const double share_;
  const int32_t num_layers_;
  ExitRules& rules_;
  ExitMetrics& metrics_;
  std::minstd_rand random_;
  std::uniform_real_distribution<double> draw_{0, 1};
  std::deque<Waiting> waiting_;
  std::optional<Waiting> running_;
};

}  // namespace spade
