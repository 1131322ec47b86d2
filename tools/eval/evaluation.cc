#include "tools/eval/evaluation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/sampling/vocab_scan.h"
#include "tools/trace/exit_columns.h"

namespace spade {
namespace {

constexpr int32_t kCurvePoints = 60;
constexpr size_t kSweepPoints = 8;

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

// Certificates of nothing, that let ever more prompts leave.
std::vector<Certificate> Sweep(const ExitOutcomes& outcomes) {
  std::vector<float> entropies;
  for (const ExitColumn& exit : outcomes.exits) {
    entropies.insert(entropies.end(), exit.entropies.begin(), exit.entropies.end());
  }
  std::ranges::sort(entropies);
  std::vector<Certificate> sweep;
  for (size_t i = 1; i <= kSweepPoints && !entropies.empty(); ++i) {
    const float entropy = entropies[i * entropies.size() / kSweepPoints - 1];
    Certificate certificate;
    certificate.thresholds.assign(outcomes.exits.size(), std::nextafter(entropy, INFINITY));
    sweep.push_back(std::move(certificate));
  }
  return sweep;
}

void AddHead(const ExitHead& head, const Traces& traces, const std::vector<Prompt>& prompts,
             LayerTable& table) {
  for (LayerRow& row : table.rows) {
    if (row.layer == head.layer) row.l_spade = QualityOf(head, traces, prompts);
  }
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
  for (const auto* heads : {&calibration->exits, &calibration->other_heads}) {
    for (const ExitHead& head : *heads) AddHead(head, traces, prompts, evaluation.table);
  }
  evaluation.calibration_id = calibration->id;
  for (const ExitHead& exit : calibration->exits) evaluation.exit_layers.push_back(exit.layer);
  const ExitOutcomes outcomes =
      MakeOutcomes(traces, prompts, calibration->exits, calibration->position, All);
  evaluation.oracle_saving = OracleSaving(outcomes, unchecked);
  const auto outcome_of = [&](const Certificate& certificate) {
    CertificateOutcome outcome{certificate, ReplayExits(outcomes, certificate.thresholds, costs), 0,
                               0};
    outcome.accuracy =
        AccuracyWithExits(traces, prompts, outcomes, certificate, calibration->position);
    outcome.mismatch = double(outcome.replay.TotalMismatched()) / double(prompts.size());
    return outcome;
  };
  for (const Certificate& certificate : calibration->certificates) {
    evaluation.certificates.push_back(outcome_of(certificate));
  }
  for (const Certificate& certificate : Sweep(outcomes)) {
    evaluation.sweep.push_back(outcome_of(certificate));
  }
  evaluation.curve = TradeCurve(outcomes, costs, kCurvePoints);
  return evaluation;
}

Baseline CompareWith(const Traces& baseline, std::string types, const Traces& traces,
                     const std::vector<Prompt>& prompts) {
  Baseline result;
  result.types = std::move(types);
  for (size_t p = 0; p < prompts.size(); ++p) {
    const int32_t answer = ArgMax(baseline.Full(p));
    result.accuracy += answer == prompts[p].label;
    result.agreement += answer == ArgMax(traces.Full(p));
  }
  if (prompts.empty()) return result;
  result.accuracy /= static_cast<double>(prompts.size());
  result.agreement /= static_cast<double>(prompts.size());
  return result;
}

}  // namespace spade
