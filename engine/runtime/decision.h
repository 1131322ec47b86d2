#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/model/model_config.h"
#include "engine/runtime/request.h"
#include "engine/runtime/validate.h"

namespace spade {

// Where a decision left the climb, and why it was allowed to.
struct ExitTaken {
  int32_t layer = 0;
  float entropy = 0;
  float threshold = 0;
};

// A Decide request in work: the exit decision and the answer's arithmetic. Made on the caller's
// thread, then owned by the loop.
class DecisionState {
 public:
  // `request` is valid; `permit` outlives this.
  DecisionState(DecideRequest request, std::shared_ptr<DecideSink> sink, ExitPermit permit);
  DecisionState(const DecisionState&) = delete;
  DecisionState& operator=(const DecisionState&) = delete;

  const DecideRequest& request() const { return request_; }
  DecideSink& sink() { return *sink_; }
  bool may_exit() const { return permit_.certificate != nullptr; }
  // VERIFIED: the rows go on to full depth after the early answer.
  bool parks() const { return request_.mode == ExitMode::kVerified; }

  // Whether the decision is to leave after `layer` layers, given its answer row's hidden state
  // there. True at most once; exit() tells the rest.
  bool TryExit(int32_t layer, std::span<const float> hidden);
  const std::optional<ExitTaken>& exit() const { return exit_; }
  // RoPE position of the answer row in the SPADE pass.
  int32_t spade_position(int32_t own_position) const;

  // Where the step puts the logits of the labels (labels).
  std::vector<float>& label_logits() { return label_logits_; }
  // The answer that the label logits give. `exit`: the exit they come from; nullopt: full depth.
  // Timings of the answer end at `now`.
  Decision Answer(const std::optional<ExitTaken>& exit, const ModelConfig& config,
                  Clock::time_point now) const;

  // Rows of the prompt that came from the prefix cache, and rows of the climb that may exit.
  void set_rows(int32_t cached, int32_t climbing) {
    cached_rows_ = cached;
    climbing_rows_ = climbing;
  }
  std::optional<Clock::time_point> first_scheduled() const { return first_scheduled_; }
  void set_first_scheduled(Clock::time_point now) { first_scheduled_ = now; }

 private:
  void CountRows(const std::optional<ExitTaken>& exit, const ModelConfig& config,
                 Decision* decision) const;

  DecideRequest request_;
  std::shared_ptr<DecideSink> sink_;
  ExitPermit permit_;
  std::vector<float> label_logits_;
  std::vector<float> probabilities_;  // scratch of TryExit
  std::optional<ExitTaken> exit_;
  int32_t cached_rows_ = 0;
  int32_t climbing_rows_ = 0;
  std::optional<Clock::time_point> first_scheduled_;
};

}  // namespace spade
