#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/model/model_config.h"
#include "engine/runtime/exit_guards.h"
#include "engine/runtime/exit_permit.h"
#include "engine/runtime/request.h"

namespace spade {

// Where a decision left the climb, and why it was allowed to.
struct ExitTaken {
  size_t index = 0;  // of the calibration's exits
  int32_t layer = 0;
  float entropy = 0;
  float threshold = 0;
};

// Fills in label, probabilities and entropy, as the labels' logits give them.
void SetAnswer(const DecideRequest& request, std::span<const float> logits, Decision* decision);

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
  bool may_exit() const { return permit_.certificate != nullptr && !probes_; }
  // VERIFIED: the rows go on to full depth after the early answer.
  bool parks() const { return request_.mode == ExitMode::kVerified; }

  // Whether the decision is to leave after `layer` layers, given its answer row's hidden state
  // there, at exits as far open as `guards` say. True at most once; exit() tells the rest.
  bool TryExit(int32_t layer, std::span<const float> hidden, const ExitGuards& guards);
  const std::optional<ExitTaken>& exit() const { return exit_; }
  // RoPE position of the answer row in the SPADE pass.
  int32_t spade_position(int32_t own_position) const;

  // Runs to full depth, and from every exit of the permit a SPADE pass too.
  void ProbeExits();
  bool probes() const { return probes_; }
  std::span<float> probe_logits(size_t exit) {
    return std::span(probe_logits_).subspan(exit * label_logits_.size(), label_logits_.size());
  }
  std::span<const float> probe_logits(size_t exit) const {
    return std::span(probe_logits_).subspan(exit * label_logits_.size(), label_logits_.size());
  }

  // Where the step puts the logits of the labels (labels).
  std::vector<float>& label_logits() { return label_logits_; }
  const std::vector<float>& label_logits() const { return label_logits_; }
  bool HasAnswer() const;  // its label logits are finite
  // The answer that the label logits give. `exit`: the exit they come from; nullopt: full depth.
  // Timings of the answer end at `now`.
  Decision Answer(const std::optional<ExitTaken>& exit, const ModelConfig& config,
                  Clock::time_point now) const;

  // Rows of the prompt that came from the prefix cache, and rows of the climb that may exit.
  void set_rows(int32_t cached, int32_t climbing) {
    cached_rows_ = cached;
    climbing_rows_ = climbing;
  }
  int32_t climbing_rows() const { return climbing_rows_; }
  const ExitPermit& permit() const { return permit_; }
  std::optional<Clock::time_point> first_scheduled() const { return first_scheduled_; }
  void set_first_scheduled(Clock::time_point now) { first_scheduled_ = now; }

 private:
  void CountRows(const std::optional<ExitTaken>& exit, const ModelConfig& config,
                 Decision* decision) const;

  DecideRequest request_;
  std::shared_ptr<DecideSink> sink_;
  ExitPermit permit_;
  bool probes_ = false;
  std::vector<float> label_logits_;
  std::vector<float> probe_logits_;   // (exits, labels)
  std::vector<float> probabilities_;  // scratch of TryExit
  std::optional<ExitTaken> exit_;
  int32_t cached_rows_ = 0;
  int32_t climbing_rows_ = 0;
  std::optional<Clock::time_point> first_scheduled_;
};

}  // namespace spade
