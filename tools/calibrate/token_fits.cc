#include "tools/calibrate/token_fits.h"

#include <algorithm>
#include <cmath>

#include "engine/base/status_macros.h"
#include "tools/calibrate/fit_layers.h"

namespace spade {
namespace {

// Records copied together for the fit at one layer.
struct Examples {
  std::vector<float> hidden;
  std::vector<float> final;
  std::vector<float> targets;

  Examples(const TokenTraces& traces, const CandidateHead& head, std::span<const size_t> records,
           int32_t exit, FitTarget target) {
    std::vector<float> log_sum_exps;
    for (const size_t record : records) {
      const auto state = traces.Hidden(record, exit);
      const TokenEnd end =
          target == FitTarget::kSpade ? traces.Spade(record, exit) : traces.Full(record);
      hidden.insert(hidden.end(), state.begin(), state.end());
      final.insert(final.end(), end.state.begin(), end.state.end());
      log_sum_exps.push_back(end.log_sum_exp);
    }
    targets = CandidateTargets(head, final, log_sum_exps);
  }

  TokenExamples View(size_t hidden_size) const {
    return {static_cast<int64_t>(hidden.size() / hidden_size), hidden, final, targets};
  }
};

// Over rows of both.
double MeanKl(std::span<const float> targets, std::span<const float> probabilities, double rows) {
  double kl = 0;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i] <= 0) continue;
    kl += targets[i] * std::log(double{targets[i]} / std::max(probabilities[i], 1e-30f));
  }
  return kl / rows;
}

}  // namespace

absl::StatusOr<std::vector<TargetFit>> FitTokenExits(const TokenTraces& traces,
                                                     const CandidateHead& head,
                                                     const FitRecords& records, FitTarget target,
                                                     int32_t rank, int32_t num_threads) {
  TokenFitOptions options;
  options.rank = rank;
  const auto fit_layer = [&](int32_t exit) -> absl::StatusOr<TargetFit> {
    const Examples fitting(traces, head, records.fitting, exit, target);
    const Examples validation(traces, head, records.validation, exit, target);
    TargetFit done;
    SPADE_ASSIGN_OR_RETURN(
        done.fit, FitTokenExit(traces.first_layer + exit, head, fitting.View(head.norm.size()),
                               validation.View(head.norm.size()), options));
    const Examples full(traces, head, records.validation, exit, FitTarget::kFull);
    done.kl_full = MeanKl(full.targets, TokenProbabilities(done.fit.exit, head, full.hidden),
                          static_cast<double>(records.validation.size()));
    return done;
  };
  return FitLayers<TargetFit>(traces.exits(), num_threads, fit_layer);
}

}  // namespace spade
