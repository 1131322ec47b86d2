#include "tools/calibrate/token_outcomes.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/model/head_rows.h"

namespace spade {
namespace {

constexpr size_t kBatch = 256;  // rows of one call

}  // namespace

absl::StatusOr<TokenOutcomes> TokenOutcomes::Create(const ModelFolder& folder, Backend& backend,
                                                    DType weight_dtype,
                                                    const TokenCalibration& calibration,
                                                    const TokenTraces& traces) {
  TokenOutcomes outcomes(folder, backend, calibration, traces);
  SPADE_ASSIGN_OR_RETURN(
      outcomes.heads_, TokenHeads::Create(&backend, folder.config, *folder.checkpoint, calibration,
                                          weight_dtype, kBatch));
  SPADE_ASSIGN_OR_RETURN(
      outcomes.rows_,
      backend.Allocate(kBatch * static_cast<size_t>(traces.hidden_size) * sizeof(float)));
  SPADE_ASSIGN_OR_RETURN(HeadRows rows,
                         ReadHeadRows(folder.config, *folder.checkpoint, calibration.candidates));
  outcomes.candidate_rows_ = std::move(rows.rows);
  outcomes.norm_ = std::move(rows.norm);
  return outcomes;
}

ExitOutcomes TokenOutcomes::Of(std::span<const size_t> records) {
  ExitOutcomes outcomes;
  outcomes.rows.assign(records.size(), 1);
  for (size_t e = 0; e < calibration_.exits.size(); ++e) {
    outcomes.exits.push_back(ColumnOf(records, e));
  }
  return outcomes;
}

TokenOutcomes::EarlyTokens TokenOutcomes::Guess(std::span<const size_t> records, size_t exit) {
  EarlyTokens early;
  std::vector<TokenGuess> guesses;
  for (size_t begin = 0; begin < records.size(); begin += kBatch) {
    const auto batch = records.subspan(begin, std::min(kBatch, records.size() - begin));
    std::vector<float> states;
    for (const size_t record : batch) {
      const auto hidden = traces_.Hidden(record, WatchedIndex(exit));
      states.insert(states.end(), hidden.begin(), hidden.end());
    }
    backend_.CopyFromHost(rows_.data(), states.data(), states.size() * sizeof(float));
    guesses.assign(batch.size(), TokenGuess{});
    heads_->Guess(calibration_.exits[exit].layer,
                  Tensor{rows_.data(), std::ssize(batch), traces_.hidden_size, DType::kF32},
                  guesses);
    for (const TokenGuess& guess : guesses) {
      early.tokens.push_back(BestCandidate(guess, calibration_.candidates));
      early.entropies.push_back(std::min(guess.entropy, kNeverLeaves));
    }
  }
  return early;
}

ExitColumn TokenOutcomes::ColumnOf(std::span<const size_t> records, size_t exit) {
  EarlyTokens early = Guess(records, exit);
  ExitColumn column{calibration_.exits[exit].layer, std::move(early.entropies), {}};
  for (size_t i = 0; i < records.size(); ++i) {
    column.mismatches.push_back(early.tokens[i] != traces_.Drawn(records[i]));
  }
  return column;
}

TokenAgreement TokenOutcomes::Agreement(std::span<const size_t> records, size_t exit) {
  const EarlyTokens early = Guess(records, exit);
  TokenAgreement agreement;
  for (size_t i = 0; i < records.size(); ++i) {
    agreement.full += early.tokens[i] == traces_.Drawn(records[i]);
    agreement.spade += early.tokens[i] == traces_.Spade(records[i], WatchedIndex(exit)).token;
  }
  agreement.full /= double(records.size());
  agreement.spade /= double(records.size());
  return agreement;
}

double TokenOutcomes::LensAgreement(std::span<const size_t> records, size_t exit) const {
  const auto agreed = std::ranges::count_if(records, [&](size_t record) {
    return LensToken(traces_.Hidden(record, WatchedIndex(exit))) == traces_.Drawn(record);
  });
  return double(agreed) / double(records.size());
}

double TokenOutcomes::SpadeAgreement(std::span<const size_t> records, size_t exit) const {
  const auto agreed = std::ranges::count_if(records, [&](size_t record) {
    return traces_.Spade(record, WatchedIndex(exit)).token == traces_.Drawn(record);
  });
  return double(agreed) / double(records.size());
}

TokenId TokenOutcomes::LensToken(std::span<const float> hidden) const {
  const size_t hidden_size = norm_.size();
  size_t best = 0;
  double best_logit = -std::numeric_limits<double>::infinity();
  for (size_t c = 0; c < calibration_.candidates.size(); ++c) {
    double logit = 0;  // up to the row's RMS, which orders nothing
    for (size_t i = 0; i < hidden_size; ++i) {
      logit += double{candidate_rows_[c * hidden_size + i]} * norm_[i] * hidden[i];
    }
    if (logit > best_logit) {
      best_logit = logit;
      best = c;
    }
  }
  return calibration_.candidates[best];
}

LayerCosts TokenOutcomes::Costs() const {
  const double parameters = double(calibration_.hidden_size) *
                            double(2 * calibration_.rank + std::ssize(calibration_.candidates) + 1);
  LayerCosts costs;
  costs.num_layers = folder_.config.num_layers;
  costs.check = parameters / double(folder_.config.layer_parameters());
  costs.is_token = true;
  return costs;
}

}  // namespace spade
