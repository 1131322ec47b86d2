#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/outcomes.h"
#include "engine/exit/token_calibration.h"
#include "engine/runtime/token_heads.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/token_traces.h"

namespace spade {

// In place of the infinite entropy of rows that must not leave: above every threshold.
inline constexpr float kNeverLeaves = 1e5f;

// Shares of rows whose token is full depth's, and the SPADE pass'.
struct TokenAgreement {
  double full = 0;
  double spade = 0;
};

// What traced rows meet at the exits of a calibration, computed as the engine does.
class TokenOutcomes {
 public:
  // All but the result's own memory outlives this; the calibration has an exit after every watched
  // layer.
  static absl::StatusOr<TokenOutcomes> Create(const ModelFolder& folder, Backend& backend,
                                              DType weight_dtype,
                                              const TokenCalibration& calibration,
                                              const TokenTraces& traces);

  ExitOutcomes Of(std::span<const size_t> records);
  // L-SPADE's at one exit.
  TokenAgreement Agreement(std::span<const size_t> records, size_t exit);
  // Shares of rows whose token there, by the logit lens (over the candidates) or by the SPADE pass,
  // is full depth's.
  double LensAgreement(std::span<const size_t> records, size_t exit) const;
  double SpadeAgreement(std::span<const size_t> records, size_t exit) const;
  // In layer-rows of one token, the exit's check included.
  LayerCosts Costs() const;

 private:
  TokenOutcomes(const ModelFolder& folder, Backend& backend, const TokenCalibration& calibration,
                const TokenTraces& traces)
      : folder_(folder), backend_(backend), calibration_(calibration), traces_(traces) {}

  struct EarlyTokens {
    std::vector<TokenId> tokens;   // (records): L-SPADE's
    std::vector<float> entropies;  // (records)
  };
  EarlyTokens Guess(std::span<const size_t> records, size_t exit);
  ExitColumn ColumnOf(std::span<const size_t> records, size_t exit);
  // Of the candidates, the logit lens' choice for a hidden state.
  TokenId LensToken(std::span<const float> hidden) const;
  int32_t WatchedIndex(size_t exit) const {
    return calibration_.exits[exit].layer - traces_.first_layer;
  }

  const ModelFolder& folder_;
  Backend& backend_;
  const TokenCalibration& calibration_;
  const TokenTraces& traces_;
  std::unique_ptr<TokenHeads> heads_;
  Buffer rows_;  // (kBatch, hidden)
  std::vector<float> candidate_rows_;
  std::vector<float> norm_;
};

}  // namespace spade
