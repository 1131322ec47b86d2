#include "tools/calibrate/token_calibrator.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/model/head_rows.h"
#include "engine/schedule/draft_policy.h"
#include "tools/calibrate/certify_bounds.h"
#include "tools/calibrate/token_fits.h"
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

// The column of the exit at which drafting gains most.
size_t BestForDrafts(const ExitOutcomes& validation, const LayerCosts& costs) {
  size_t best = 0;
  double best_speedup = 0;
  for (size_t e = 0; e < validation.exits.size(); ++e) {
    const ExitColumn& column = validation.exits[e];
    const double speedup = DraftSpeedup(DraftCurve(column), column.layer, costs);
    if (speedup > best_speedup) best = e;
    best_speedup = std::max(best_speedup, speedup);
  }
  return best;
}

// The columns of the exits that save most within the bounds, and of that for drafts.
std::vector<size_t> ChooseTokenExits(const ExitOutcomes& validation,
                                     const TokenCalibrateOptions& options,
                                     TokenCalibrateResult& result) {
  ChooseOptions choose;
  choose.min_exits = options.min_exits;
  choose.max_exits = std::max(1, options.max_exits - 1);  // one is for drafts
  choose.max_mismatches = options.max_mismatches;
  choose.confidence = options.confidence;
  choose.certification_prompts = result.certification_rows;
  result.choice = ChooseExits(validation, result.costs, choose);
  std::vector<size_t> chosen(result.choice.exits.begin(), result.choice.exits.end());
  const size_t drafts = BestForDrafts(validation, result.costs);
  result.draft_layer = validation.exits[drafts].layer;
  const bool is_full = std::ssize(chosen) >= options.max_exits;
  if (!is_full && std::ranges::find(chosen, drafts) == chosen.end()) chosen.push_back(drafts);
  std::ranges::sort(chosen);
  return chosen;
}

// What all steps of one calibration work with.
struct Workshop {
  const ModelFolder& folder;
  Backend& backend;
  DType weight_dtype;
  const TokenTraces& traces;
  const TokenCalibrateOptions& options;
  std::vector<size_t> fitting = {};
  std::vector<size_t> validation = {};
  std::vector<size_t> certification = {};
};

absl::Status PartRecords(const std::vector<Prompt>& prompts, Workshop& shop) {
  shop.fitting = RecordsOf(shop.traces, prompts, Part::kFit, /*one_each=*/false);
  shop.validation = RecordsOf(shop.traces, prompts, Part::kValidation, /*one_each=*/false);
  shop.certification = RecordsOf(shop.traces, prompts, Part::kCertification, /*one_each=*/true);
  if (shop.fitting.empty() || shop.validation.empty() || shop.certification.empty()) {
    return absl::InvalidArgumentError("a part has no prompts: give more prompts");
  }
  return absl::OkStatus();
}

// Fits every watched layer to `target`; of what was fitted before, each layer keeps the one that is
// nearer to full depth, on validation.
absl::Status FitTo(FitTarget target, const Workshop& shop, const CandidateHead& head,
                   TokenCalibrateResult& result) {
  SPADE_ASSIGN_OR_RETURN(const std::vector<TargetFit> fits,
                         FitTokenExits(shop.traces, head, {shop.fitting, shop.validation}, target,
                                       result.calibration.rank, shop.options.num_threads));
  TokenCalibration trial = result.calibration;
  trial.exits.clear();
  for (const TargetFit& each : fits) trial.exits.push_back(each.fit.exit);
  SPADE_ASSIGN_OR_RETURN(
      TokenOutcomes outcomes,
      TokenOutcomes::Create(shop.folder, shop.backend, shop.weight_dtype, trial, shop.traces));
  result.table.resize(fits.size());
  result.calibration.exits.resize(fits.size());
  for (size_t e = 0; e < fits.size(); ++e) {
    const TokenAgreement agreement = outcomes.Agreement(shop.validation, e);
    std::vector<FitQuality>& qualities = result.table[e].fits;
    qualities.push_back({target, fits[e].kl_full, agreement.full, agreement.spade});
    if (KeptFit(qualities) == qualities.size() - 1) result.calibration.exits[e] = trial.exits[e];
  }
  return absl::OkStatus();
}

// From the heads of all watched layers to those of the exits, with their certificates. Every
// entropy is the engine's own.
absl::Status ChooseAndCertify(const Workshop& shop, TokenCalibrateResult& result) {
  TokenCalibration& calibration = result.calibration;
  SPADE_ASSIGN_OR_RETURN(TokenOutcomes outcomes,
                         TokenOutcomes::Create(shop.folder, shop.backend, shop.weight_dtype,
                                               calibration, shop.traces));
  result.costs = outcomes.Costs();
  for (size_t e = 0; e < result.table.size(); ++e) {
    TokenRow& row = result.table[e];
    row.layer = calibration.exits[e].layer;
    row.lens_full = outcomes.LensAgreement(shop.validation, e);
    row.spade_full = outcomes.SpadeAgreement(shop.validation, e);
  }
  const ExitOutcomes validation = outcomes.Of(shop.validation);
  const ExitOutcomes certified = outcomes.Of(shop.certification);
  std::vector<TokenExit> chosen;
  ExitOutcomes planning{validation.rows, {}};
  ExitOutcomes certification{certified.rows, {}};
  for (const size_t e : ChooseTokenExits(validation, shop.options, result)) {
    chosen.push_back(calibration.exits[e]);
    calibration.drafts.push_back(DraftCurve(validation.exits[e]));
    planning.exits.push_back(validation.exits[e]);
    certification.exits.push_back(certified.exits[e]);
  }
  calibration.exits = std::move(chosen);
  calibration.certificates = CertifyBounds(planning, certification, result.costs,
                                           shop.options.max_mismatches, shop.options.confidence);
  result.oracle_saving = OracleSaving(certification, result.costs);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenCalibrateResult> CalibrateTokens(const ModelFolder& folder, Backend& backend,
                                                     DType weight_dtype, const TokenTraces& traces,
                                                     const std::vector<Prompt>& prompts,
                                                     const TokenCalibrateOptions& options) {
  Workshop shop{folder, backend, weight_dtype, traces, options};
  SPADE_RETURN_IF_ERROR(PartRecords(prompts, shop));
  TokenCalibrateResult result;
  result.fit_rows = std::ssize(shop.fitting);
  result.validation_rows = std::ssize(shop.validation);
  result.certification_rows = std::ssize(shop.certification);
  TokenCalibration& calibration = result.calibration;
  calibration.hidden_size = traces.hidden_size;
  calibration.rank = options.rank > 0 ? options.rank : std::clamp(traces.hidden_size / 3, 16, 256);
  calibration.rank = std::min(calibration.rank, traces.hidden_size);
  calibration.candidates = ChooseCandidates(traces, shop.fitting, options, &result.coverage);
  SPADE_ASSIGN_OR_RETURN(const HeadRows rows,
                         ReadHeadRows(folder.config, *folder.checkpoint, calibration.candidates));
  const CandidateHead head{rows.rows, rows.norm, folder.config.rms_norm_epsilon};
  for (const FitTarget target : options.fit_to) {
    SPADE_RETURN_IF_ERROR(FitTo(target, shop, head, result));
  }
  SPADE_RETURN_IF_ERROR(ChooseAndCertify(shop, result));
  return result;
}

}  // namespace spade
