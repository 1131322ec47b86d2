#include "tools/calibrate/token_calibrator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/exit/choose_exits.h"
#include "engine/model/head_rows.h"
#include "engine/schedule/draft_policy.h"
#include "tools/calibrate/certify_bounds.h"
#include "tools/calibrate/fit_layers.h"
#include "tools/calibrate/token_outcomes.h"
#include "tools/trace/exit_columns.h"
#include "tools/trace/traces.h"

namespace spade {
namespace {

constexpr int kDraftPoints = 16;

// Records of the prompts of a part; all of each prompt's, or only the first.
std::vector<size_t> RecordsOf(const TokenTraces& traces, const std::vector<Prompt>& prompts,
                              Part part, bool one_each) {
  const auto per_prompt = static_cast<size_t>(traces.rows_per_prompt);
  std::vector<size_t> records;
  for (size_t p = 0; p < prompts.size(); ++p) {
    if (prompts[p].part != part) continue;
    for (size_t i = 0; i < (one_each ? 1 : per_prompt); ++i) records.push_back(p * per_prompt + i);
  }
  return records;
}

// The tokens most often drawn in the records, ascending.
std::vector<TokenId> ChooseCandidates(const TokenTraces& traces, std::span<const size_t> records,
                                      const TokenCalibrateOptions& options, double* coverage) {
  std::map<TokenId, int64_t> counts;
  for (const size_t record : records) ++counts[traces.Drawn(record)];
  std::vector<std::pair<int64_t, TokenId>> ranked;
  for (const auto& [id, count] : counts) ranked.emplace_back(-count, id);
  std::ranges::sort(ranked);
  std::vector<TokenId> candidates;
  double covered = 0;
  for (const auto& [negative_count, id] : ranked) {
    const bool enough = covered >= options.coverage * double(records.size());
    if (enough || std::ssize(candidates) == options.max_candidates) break;
    candidates.push_back(id);
    covered -= static_cast<double>(negative_count);
  }
  *coverage = covered / double(records.size());
  std::ranges::sort(candidates);
  return candidates;
}

// Records copied together for the fit at one layer.
class Examples {
 public:
  Examples(const TokenTraces& traces, const CandidateHead& head, std::span<const size_t> records)
      : records_(records) {
    for (const size_t record : records) {
      const auto final = traces.Final(record);
      final_.insert(final_.end(), final.begin(), final.end());
      AddTargets(traces, head, record);
    }
  }

  // The view's hidden states are kept in `storage`.
  TokenExamples View(const TokenTraces& traces, int32_t exit, std::vector<float>& storage) const {
    storage.clear();
    for (const size_t record : records_) {
      const auto hidden = traces.Hidden(record, exit);
      storage.insert(storage.end(), hidden.begin(), hidden.end());
    }
    return {std::ssize(records_), storage, final_, targets_};
  }

 private:
  // Full depth's probabilities of the candidates, and of all other tokens together.
  void AddTargets(const TokenTraces& traces, const CandidateHead& head, size_t record) {
    const auto final = traces.Final(record);
    const size_t hidden = final.size();
    double squares = 0;
    for (const float value : final) squares += double{value} * value;
    const double rms = std::sqrt(squares / double(hidden) + head.norm_epsilon);
    double rest = 1;
    for (size_t c = 0; c < head.rows.size() / hidden; ++c) {
      double logit = 0;
      for (size_t i = 0; i < hidden; ++i) {
        logit += double{head.rows[c * hidden + i]} * final[i] * head.norm[i];
      }
      const double probability = std::exp(logit / rms - traces.LogSumExp(record));
      targets_.push_back(static_cast<float>(probability));
      rest -= probability;
    }
    targets_.push_back(static_cast<float>(std::clamp(rest, 0.0, 1.0)));
  }

  std::span<const size_t> records_;
  std::vector<float> final_;
  std::vector<float> targets_;
};

// From the surest tokens to all, what drafting below each threshold may expect.
std::vector<DraftPoint> DraftCurve(const ExitColumn& exit) {
  std::vector<size_t> order(exit.entropies.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](size_t i) { return exit.entropies[i]; });
  std::vector<DraftPoint> points;
  double agreed = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    agreed += exit.mismatches[order[i]] == 0 ? 1 : 0;
    const size_t next_cut = (points.size() + 1) * order.size() / kDraftPoints;
    if (i + 1 < next_cut || exit.entropies[order[i]] >= kNeverLeaves) continue;
    const float threshold = std::nextafter(exit.entropies[order[i]], INFINITY);
    points.push_back({threshold, double(i + 1) / double(order.size()), agreed / double(i + 1)});
  }
  return points;
}

// Gain of drafting at an exit where weights are what a step waits for: one sequence, any number of
// rows as dear as one.
double DraftSpeedup(const std::vector<DraftPoint>& curve, int32_t layer, const LayerCosts& costs) {
  StageCosts stages(2);
  for (const int64_t rows : {1, 64}) {
    stages.Observe(0, rows, layer);
    stages.Observe(1, rows, costs.num_layers - layer);
  }
  std::vector<DraftOption> options;
  for (const DraftPoint& point : curve) {
    options.push_back({/*boundary=*/1, point.threshold, point.share, point.agreement});
  }
  DraftSituation situation;
  situation.num_stages = 2;
  situation.max_in_row = 7;
  situation.check_seconds = costs.check;
  return ChooseDrafting(options, situation, stages).speedup;
}

// The exits that save most within the bounds, and the one at which drafting gains most.
std::vector<size_t> ChooseTokenExits(const ExitOutcomes& validation, const LayerCosts& costs,
                                     const TokenCalibrateOptions& options, int64_t certification) {
  ChooseOptions choose;
  choose.min_exits = 1;
  choose.max_exits = options.max_exits - 1;
  choose.max_mismatches = options.max_mismatches;
  choose.confidence = options.confidence;
  choose.certification_prompts = certification;
  std::vector<size_t> chosen;
  for (const int32_t index : ChooseExits(validation, costs, choose)) {
    chosen.push_back(static_cast<size_t>(index));
  }
  size_t best = 0;
  double best_speedup = 0;
  for (size_t e = 0; e < validation.exits.size(); ++e) {
    const ExitColumn& column = validation.exits[e];
    const double speedup = DraftSpeedup(DraftCurve(column), column.layer, costs);
    if (speedup > best_speedup) best = e;
    best_speedup = std::max(best_speedup, speedup);
  }
  if (std::ranges::find(chosen, best) == chosen.end()) chosen.push_back(best);
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace

absl::StatusOr<TokenCalibrateResult> CalibrateTokens(const ModelFolder& folder, Backend& backend,
                                                     DType weight_dtype, const TokenTraces& traces,
                                                     const std::vector<Prompt>& prompts,
                                                     const TokenCalibrateOptions& options) {
  const auto fit_records = RecordsOf(traces, prompts, Part::kFit, /*one_each=*/false);
  const auto validation_records = RecordsOf(traces, prompts, Part::kValidation, false);
  const auto certification_records = RecordsOf(traces, prompts, Part::kCertification, true);
  if (fit_records.empty() || validation_records.empty() || certification_records.empty()) {
    return absl::InvalidArgumentError("a part has no prompts: give more prompts");
  }
  TokenCalibrateResult result;
  result.fit_rows = std::ssize(fit_records);
  result.validation_rows = std::ssize(validation_records);
  result.certification_rows = std::ssize(certification_records);
  TokenCalibration& calibration = result.calibration;
  calibration.hidden_size = traces.hidden_size;
  calibration.rank = options.rank > 0 ? options.rank : std::clamp(traces.hidden_size / 3, 16, 256);
  calibration.rank = std::min(calibration.rank, traces.hidden_size);
  calibration.candidates = ChooseCandidates(traces, fit_records, options, &result.coverage);
  SPADE_ASSIGN_OR_RETURN(const HeadRows rows,
                         ReadHeadRows(folder.config, *folder.checkpoint, calibration.candidates));
  const CandidateHead head{rows.rows, rows.norm, folder.config.rms_norm_epsilon};
  TokenFitOptions fit_options;
  fit_options.rank = calibration.rank;
  const Examples fitting(traces, head, fit_records);
  const Examples validating(traces, head, validation_records);
  const auto fit_layer = [&](int32_t exit) {
    std::vector<float> fit_states;
    std::vector<float> validation_states;
    return FitTokenExit(traces.first_layer + exit, head, fitting.View(traces, exit, fit_states),
                        validating.View(traces, exit, validation_states), fit_options);
  };
  SPADE_ASSIGN_OR_RETURN(const std::vector<TokenFit> fits,
                         FitLayers<TokenFit>(traces.exits(), options.num_threads, fit_layer));
  for (const TokenFit& fit : fits) calibration.exits.push_back(fit.exit);

  // From here on every entropy is the engine's own.
  SPADE_ASSIGN_OR_RETURN(TokenOutcomes outcomes,
                         TokenOutcomes::Create(folder, backend, weight_dtype, calibration, traces));
  result.costs = outcomes.Costs();
  const ExitOutcomes validation = outcomes.Of(validation_records);
  for (size_t e = 0; e < fits.size(); ++e) {
    result.table.push_back({fits[e].exit.layer, outcomes.LensAgreement(validation_records, e),
                            outcomes.Agreement(validation.exits[e]), fits[e].kl});
  }
  std::vector<TokenExit> chosen;
  ExitOutcomes planning{validation.rows, {}};
  for (const size_t e :
       ChooseTokenExits(validation, result.costs, options, result.certification_rows)) {
    chosen.push_back(calibration.exits[e]);
    calibration.drafts.push_back(DraftCurve(validation.exits[e]));
    planning.exits.push_back(validation.exits[e]);
  }
  ExitOutcomes certification = outcomes.Of(certification_records);
  std::erase_if(certification.exits, [&](const ExitColumn& column) {
    return std::ranges::none_of(chosen,
                                [&](const TokenExit& exit) { return exit.layer == column.layer; });
  });
  calibration.exits = std::move(chosen);
  calibration.certificates = CertifyBounds(planning, certification, result.costs,
                                           options.max_mismatches, options.confidence);
  result.oracle_saving = OracleSaving(certification, result.costs);
  return result;
}

}  // namespace spade
