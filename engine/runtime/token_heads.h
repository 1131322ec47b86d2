#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/token_calibration.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/runtime/token_exits.h"
#include "kernels/backend.h"

namespace spade {

// A TokenCalibration's exits on a backend.
class TokenHeads final : public TokenExits {
 public:
  // Guess takes up to `max_rows` rows. `backend` outlives this. RESOURCE_EXHAUSTED where the
  // weights do not fit; INVALID_ARGUMENT where calibration and checkpoint do not match.
  static absl::StatusOr<std::unique_ptr<TokenHeads>> Create(Backend* backend,
                                                            const ModelConfig& config,
                                                            const Checkpoint& checkpoint,
                                                            const TokenCalibration& calibration,
                                                            DType weight_dtype, int64_t max_rows);

  std::span<const TokenId> candidates() const override { return candidates_; }
  void Guess(int32_t layer, Tensor rows, std::span<TokenGuess> guesses) override;

 private:
  struct Exit {
    int32_t layer = 0;
    Matrix down;  // (rank, hidden)
    Matrix up;    // (hidden, rank)
    Matrix head;  // (candidates + 1, hidden): the last row stands for all other tokens
    float other_bias = 0;
    float temperature = 1;
  };

  TokenHeads() = default;
  absl::Status AddExit(const TokenExit& exit, std::span<const float> candidate_rows,
                       int64_t hidden_size, DType weight_dtype);
  // Guesses where the logits are.
  void Read(const Exit& exit, Tensor logits, std::span<TokenGuess> guesses);
  // Confidence from the logits of one row, which become the candidates' own.
  void Conclude(const Exit& exit, std::span<const float> logits, TokenGuess& guess) const;

  Backend* backend_ = nullptr;
  std::vector<TokenId> candidates_;
  std::vector<Exit> exits_;
  Buffer norm_;  // (hidden)
  float norm_epsilon_ = 0;
  Buffer narrowed_;  // (max_rows, rank)
  Buffer logits_;    // (max_rows, candidates + 1)
  int64_t rank_ = 0;
  std::vector<LogitQuery> queries_;  // of one Guess
  std::vector<LogitAnswer> answers_;
};

}  // namespace spade
