#include "tools/calibrate/calibrator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/exit/fit.h"
#include "engine/exit/head_problem.h"
#include "engine/sampling/vocab_scan.h"
#include "tools/calibrate/certify_bounds.h"
#include "tools/calibrate/fit_layers.h"
#include "tools/trace/exit_columns.h"
#include "tools/trace/progress.h"

namespace spade {
namespace {

constexpr int32_t kCurvePoints = 40;

auto InPart(Part part) {
  return [part](const Prompt& prompt) { return prompt.part == part; };
}

// Hidden states of one part at one layer, and the target's logits, copied together.
struct Examples {
  std::vector<float> hidden;
  std::vector<float> logits;

  HeadExamples View(const TraceShape& shape) const {
    const auto samples = static_cast<int64_t>(logits.size()) / shape.labels;
    return {samples, shape.hidden_size, shape.labels, hidden, logits};
  }
};

// One watched layer of the traces.
struct WatchedLayer {
  const Traces& traces;
  const std::vector<Prompt>& prompts;
  int32_t exit;
  SpadePosition position;

  Examples Gather(Part part, FitTarget target) const {
    Examples examples;
    for (size_t p = 0; p < traces.prompts(); ++p) {
      if (prompts[p].part != part) continue;
      const auto hidden = traces.Hidden(p, exit);
      const auto logits =
          target == FitTarget::kSpade ? traces.Spade(p, exit, position) : traces.Full(p);
      examples.hidden.insert(examples.hidden.end(), hidden.begin(), hidden.end());
      examples.logits.insert(examples.logits.end(), logits.begin(), logits.end());
    }
    return examples;
  }

  // fn(prompt) for each that validates; how many those are.
  template <typename Fn>
  double ForEachValidation(const Fn& fn) const {
    double count = 0;
    for (size_t p = 0; p < traces.prompts(); ++p) {
      if (prompts[p].part != Part::kValidation) continue;
      fn(p);
      count += 1;
    }
    return count;
  }

  int32_t Spade(size_t p) const { return ArgMax(traces.Spade(p, exit, position)); }
};

// KL(softmax(logits) || probabilities), in nats.
double KlFromLogits(std::span<const float> logits, std::span<const float> probabilities) {
  std::vector<double> target(logits.begin(), logits.end());
  Softmax(target, 1);
  double kl = 0;
  for (size_t k = 0; k < target.size(); ++k) {
    if (target[k] > 0) kl += target[k] * std::log(target[k] / std::max(probabilities[k], 1e-30f));
  }
  return kl;
}

FitQuality FitQualityOf(const ExitHead& head, FitTarget target, const WatchedLayer& layer) {
  FitQuality quality{target};
  std::vector<float> probabilities(static_cast<size_t>(layer.traces.shape.labels));
  const double count = layer.ForEachValidation([&](size_t p) {
    head.Entropy(layer.traces.Hidden(p, layer.exit), probabilities);
    const int32_t label = ArgMax(probabilities);
    quality.kl_full += KlFromLogits(layer.traces.Full(p), probabilities);
    quality.matches_full += label == ArgMax(layer.traces.Full(p));
    quality.matches_spade += label == layer.Spade(p);
  });
  for (double* mean : {&quality.kl_full, &quality.matches_full, &quality.matches_spade}) {
    *mean /= count;
  }
  return quality;
}

absl::StatusOr<HeadRow> FitLayer(const WatchedLayer& layer, const CalibrateOptions& options) {
  const TraceShape& shape = layer.traces.shape;
  HeadRow row;
  const double count = layer.ForEachValidation([&](size_t p) {
    const int32_t lens = ArgMax(layer.traces.Lens(p, layer.exit));
    row.lens_matches_full += lens == ArgMax(layer.traces.Full(p));
    row.lens_matches_spade += lens == layer.Spade(p);
  });
  row.lens_matches_full /= count;
  row.lens_matches_spade /= count;
  for (const FitTarget target : options.fit_to) {
    const Examples fitting = layer.Gather(Part::kFit, target);
    const Examples validation = layer.Gather(Part::kValidation, target);
    SPADE_ASSIGN_OR_RETURN(HeadFit fit,
                           FitExitHead(shape.first_layer + layer.exit, fitting.View(shape),
                                       validation.View(shape), FitOptions{}));
    row.fits.push_back(FitQualityOf(fit.head, target, layer));
    if (KeptFit(row.fits) == row.fits.size() - 1) row.head = std::move(fit.head);
  }
  return row;
}

// Parts the heads into exits and others.
void ChooseHeads(const Traces& traces, const std::vector<Prompt>& prompts,
                 const CalibrateOptions& options, CalibrateResult& result) {
  std::vector<ExitHead> heads;
  for (const HeadRow& row : result.heads) heads.push_back(row.head);
  const ExitOutcomes candidates =
      MakeOutcomes(traces, prompts, heads, result.calibration.position, InPart(Part::kValidation));
  ChooseOptions choose;
  choose.min_exits = options.min_exits;
  choose.max_exits = options.max_exits;
  choose.max_mismatches = options.max_mismatches;
  choose.confidence = options.confidence;
  choose.certification_prompts = result.certification_prompts;
  result.choice = ChooseExits(candidates, result.costs, choose);
  const std::vector<int32_t>& chosen = result.choice.exits;
  for (int32_t index = 0; index < std::ssize(heads); ++index) {
    const bool is_exit = std::ranges::find(chosen, index) != chosen.end();
    auto& list = is_exit ? result.calibration.exits : result.calibration.other_heads;
    list.push_back(std::move(heads[static_cast<size_t>(index)]));
  }
}

void CertifyAll(const Traces& traces, const std::vector<Prompt>& prompts,
                const CalibrateOptions& options, CalibrateResult& result) {
  Calibration& calibration = result.calibration;
  const auto outcomes_of = [&](Part part) {
    return MakeOutcomes(traces, prompts, calibration.exits, calibration.position, InPart(part));
  };
  const ExitOutcomes planning = outcomes_of(Part::kValidation);
  const ExitOutcomes certification = outcomes_of(Part::kCertification);
  calibration.certificates = CertifyBounds(planning, certification, result.costs,
                                           options.max_mismatches, options.confidence);
  calibration.curve = TradeCurve(certification, result.costs, kCurvePoints);
  result.oracle_saving = OracleSaving(certification, result.costs);
}

}  // namespace

absl::StatusOr<CalibrateResult> Calibrate(const Traces& traces, const std::vector<Prompt>& prompts,
                                          const LayerCosts& costs,
                                          const CalibrateOptions& options) {
  CalibrateResult result;
  result.costs = costs;
  result.fit_prompts = std::ranges::count_if(prompts, InPart(Part::kFit));
  result.validation_prompts = std::ranges::count_if(prompts, InPart(Part::kValidation));
  result.certification_prompts = std::ranges::count_if(prompts, InPart(Part::kCertification));
  if (result.certification_prompts == 0) {
    return absl::InvalidArgumentError("no prompts are left to certify on: give more prompts");
  }
  const auto before_certification = [](const Prompt& p) { return p.part != Part::kCertification; };
  result.calibration.position = options.position.value_or(
      BetterPosition(MakeLayerTable(traces, prompts, before_certification)));
  result.table = MakeLayerTable(traces, prompts, InPart(Part::kCertification));
  SPADE_ASSIGN_OR_RETURN(
      result.heads,
      FitLayers<HeadRow>(traces.shape.exits(), options.num_threads, [&](int32_t exit) {
        return FitLayer({traces, prompts, exit, result.calibration.position}, options);
      }));
  const double check = SecondsPerCheck(result.heads[0].head, traces.Hidden(0, 0));
  if (options.seconds_per_layer_row > 0) result.costs.check = check / options.seconds_per_layer_row;
  ChooseHeads(traces, prompts, options, result);
  result.calibration.hidden_size = traces.shape.hidden_size;
  CertifyAll(traces, prompts, options, result);
  return result;
}

}  // namespace spade
