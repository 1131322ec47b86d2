#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/model/model_config.h"
#include "engine/runtime/engine_metrics.h"
#include "engine/runtime/request.h"

namespace spade {

// The generation that scores the label sequences of a valid decision: one continuation a label,
// forced to be the label's tokens, all on the same prompt blocks.
GenerateRequest ScoringRequest(const DecideRequest& request);

// Receives that generation and answers the decision: a label's logit is the sum of its tokens'
// log-probabilities, each given the prompt and the tokens before it.
class LabelScorer final : public GenerateSink {
 public:
  // `config` and `metrics` outlive this.
  LabelScorer(DecideRequest request, std::shared_ptr<DecideSink> sink, const ModelConfig* config,
              EngineMetrics* metrics);

  void OnDelta(GenerateDelta delta) override;
  void OnDone(const absl::Status& status) override;

 private:
  Decision Answer() const;

  const DecideRequest request_;
  const std::shared_ptr<DecideSink> sink_;
  const ModelConfig& config_;
  EngineMetrics& metrics_;
  std::vector<float> scores_;  // (labels)
  Usage usage_;
  Timings timings_;
};

}  // namespace spade
