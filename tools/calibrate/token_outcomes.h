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
  // Share of a column's rows whose early token is full depth's.
  double Agreement(const ExitColumn& column) const;
  // The same for the logit lens, over the candidates.
  double LensAgreement(std::span<const size_t> records, size_t exit) const;
  // In layer-rows of one token, the exit's check included.
  LayerCosts Costs() const;

 private:
  TokenOutcomes(const ModelFolder& folder, Backend& backend, const TokenCalibration& calibration,
                const TokenTraces& traces)
      : folder_(folder), backend_(backend), calibration_(calibration), traces_(traces) {}

  ExitColumn ColumnOf(std::span<const size_t> records, size_t exit);

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
