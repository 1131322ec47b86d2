#include "tools/eval/evaluation.h"

#include "tools/trace/exit_columns.h"

namespace spade {
namespace {

constexpr int32_t kCurvePoints = 60;

bool All(const Prompt&) { return true; }

// An exit after every watched layer, without entropies: for the oracle.
ExitOutcomes EveryLayer(const Traces& traces, const std::vector<Prompt>& prompts,
                        SpadePosition position) {
  ExitOutcomes outcomes;
  for (const Prompt& prompt : prompts) {
    outcomes.rows.push_back(static_cast<int32_t>(prompt.ids.size()));
  }
  for (int32_t exit = 0; exit < traces.shape.exits(); ++exit) {
    ExitColumn column{traces.shape.first_layer + exit, {}, {}};
    column.entropies.resize(traces.prompts());
    for (size_t p = 0; p < traces.prompts(); ++p) {
      column.mismatches.push_back(ArgMax(traces.Spade(p, exit, position)) !=
                                  ArgMax(traces.Full(p)));
    }
    outcomes.exits.push_back(std::move(column));
  }
  return outcomes;
}

double AccuracyWithExits(const Traces& traces, const std::vector<Prompt>& prompts,
                         const ExitOutcomes& outcomes, const Certificate& certificate,
                         SpadePosition position) {
  double correct = 0;
  for (size_t p = 0; p < traces.prompts(); ++p) {
    int32_t answer = ArgMax(traces.Full(p));
    for (size_t e = 0; e < outcomes.exits.size(); ++e) {
      const ExitColumn& exit = outcomes.exits[e];
      if (exit.entropies[p] >= certificate.thresholds[e]) continue;
      answer = ArgMax(traces.Spade(p, exit.layer - traces.shape.first_layer, position));
      break;
    }
    correct += answer == prompts[p].label;
  }
  return correct / static_cast<double>(traces.prompts());
}

}  // namespace

Evaluation Evaluate(const Traces& traces, const std::vector<Prompt>& prompts,
                    const Calibration* calibration, const LayerCosts& costs) {
  Evaluation evaluation;
  evaluation.table = MakeLayerTable(traces, prompts, All);
  evaluation.position =
      calibration != nullptr ? calibration->position : BetterPosition(evaluation.table);
  for (const Prompt& prompt : prompts) {
    evaluation.mean_rows += double(prompt.ids.size()) / double(prompts.size());
  }
  LayerCosts unchecked = costs;
  unchecked.check = 0;
  evaluation.oracle_saving_any_layer =
      OracleSaving(EveryLayer(traces, prompts, evaluation.position), unchecked);
  if (calibration == nullptr) return evaluation;
  evaluation.calibration_id = calibration->id;
  for (const ExitHead& exit : calibration->exits) evaluation.exit_layers.push_back(exit.layer);
  const ExitOutcomes outcomes =
      MakeOutcomes(traces, prompts, calibration->exits, calibration->position, All);
  evaluation.oracle_saving = OracleSaving(outcomes, unchecked);
  for (const Certificate& certificate : calibration->certificates) {
    CertificateOutcome outcome{certificate, ReplayExits(outcomes, certificate.thresholds, costs), 0,
                               0};
    outcome.accuracy =
        AccuracyWithExits(traces, prompts, outcomes, certificate, calibration->position);
    outcome.mismatch = double(outcome.replay.TotalMismatched()) / double(prompts.size());
    evaluation.certificates.push_back(std::move(outcome));
  }
  evaluation.curve = TradeCurve(outcomes, costs, kCurvePoints);
  return evaluation;
}

}  // namespace spade
