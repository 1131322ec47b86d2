#include "engine/runtime/label_scoring.h"

#include <algorithm>
#include <utility>

#include "engine/runtime/decision.h"

namespace spade {

GenerateRequest ScoringRequest(const DecideRequest& request) {
  GenerateRequest scoring;
  scoring.context = request.context;
  scoring.forced = request.label_sequences;
  scoring.num_sequences = static_cast<int32_t>(scoring.forced.size());
  scoring.max_tokens = static_cast<int32_t>(
      std::ranges::max_element(scoring.forced, {}, &std::vector<TokenId>::size)->size());
  scoring.ignore_eos = true;
  scoring.detokenize = false;
  return scoring;
}

LabelScorer::LabelScorer(DecideRequest request, std::shared_ptr<DecideSink> sink,
                         const ModelConfig* config, EngineMetrics* metrics)
    : request_(std::move(request)),
      sink_(std::move(sink)),
      config_(*config),
      metrics_(*metrics),
      scores_(request_.label_sequences.size()) {
  usage_.prompt_tokens = static_cast<int32_t>(request_.context.prompt.size());
}

void LabelScorer::OnDelta(GenerateDelta delta) {
  for (const SampledToken& token : delta.tokens) {
    scores_[static_cast<size_t>(delta.index)] += token.logprob;
  }
  if (!delta.finish) return;
  // The first label's sequence ran the prompt for all of them.
  if (delta.index == 0) usage_.cached_tokens = delta.finish->usage.cached_tokens;
  const Timings& timings = delta.finish->timings;
  timings_.queue_s = timings.queue_s;
  timings_.prefill_s = std::max(timings_.prefill_s, timings.prefill_s + timings.decode_s);
}

void LabelScorer::OnDone(const absl::Status& status) {
  if (status.ok()) {
    const Decision decision = Answer();
    metrics_.OnFirstToken(decision.timings.queue_s + decision.timings.prefill_s);
    metrics_.exits().OnDecision(request_.mode, DecisionKind::kFinal, decision);
    metrics_.OnDecided(decision);
    sink_->OnDecision(DecisionKind::kFinal, decision);
  }
  sink_->OnDone(status);
}

Decision LabelScorer::Answer() const {
  Decision decision;
  SetAnswer(request_, scores_, &decision);
  decision.exit_layer = config_.num_layers;
  // A label's last token is never run: what follows it is not asked for.
  auto rows = static_cast<double>(usage_.prompt_tokens - usage_.cached_tokens);
  for (const auto& label : request_.label_sequences) rows += static_cast<double>(label.size() - 1);
  decision.layer_rows_full = rows * config_.num_layers;
  decision.usage = usage_;
  decision.timings = timings_;
  return decision;
}

}  // namespace spade
