#include "engine/runtime/token_heads.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/base/status_macros.h"
#include "engine/model/head_rows.h"
#include "kernels/check.h"

namespace spade {
namespace {

HostMatrix AsMatrix(const std::vector<float>& values, int64_t rows, int64_t cols) {
  return {values.data(), rows, cols, DType::kF32};
}

}  // namespace

absl::StatusOr<std::unique_ptr<TokenHeads>> TokenHeads::Create(
    Backend* backend, const ModelConfig& config, const Checkpoint& checkpoint,
    const TokenCalibration& calibration, DType weight_dtype, int64_t max_rows) {
  auto heads = std::unique_ptr<TokenHeads>(new TokenHeads());
  heads->backend_ = backend;
  heads->candidates_ = calibration.candidates;
  heads->rank_ = calibration.rank;
  heads->norm_epsilon_ = config.rms_norm_epsilon;
  SPADE_ASSIGN_OR_RETURN(const HeadRows read,
                         ReadHeadRows(config, checkpoint, calibration.candidates));
  const size_t norm_bytes = read.norm.size() * sizeof(float);
  SPADE_ASSIGN_OR_RETURN(heads->norm_, backend->Allocate(norm_bytes));
  backend->CopyFromHost(heads->norm_.data(), read.norm.data(), norm_bytes);
  for (const TokenExit& exit : calibration.exits) {
    SPADE_RETURN_IF_ERROR(heads->AddExit(exit, read.rows, config.hidden_size, weight_dtype));
  }
  const auto rows = static_cast<size_t>(max_rows);
  const size_t entries = calibration.candidates.size() + 1;
  SPADE_ASSIGN_OR_RETURN(
      heads->narrowed_,
      backend->Allocate(rows * static_cast<size_t>(calibration.rank) * sizeof(float)));
  SPADE_ASSIGN_OR_RETURN(heads->logits_, backend->Allocate(rows * entries * sizeof(float)));
  return heads;
}

absl::Status TokenHeads::AddExit(const TokenExit& exit, std::span<const float> candidate_rows,
                                 int64_t hidden_size, DType weight_dtype) {
  Exit added;
  added.layer = exit.layer;
  added.other_bias = exit.other_bias;
  added.temperature = exit.temperature;
  const HostMatrix down = AsMatrix(exit.down, rank_, hidden_size);
  SPADE_ASSIGN_OR_RETURN(added.down, backend_->Pack(std::span(&down, 1), DType::kF32));
  const HostMatrix up = AsMatrix(exit.up, hidden_size, rank_);
  SPADE_ASSIGN_OR_RETURN(added.up, backend_->Pack(std::span(&up, 1), DType::kF32));
  const HostMatrix head[] = {
      {candidate_rows.data(), std::ssize(candidates_), hidden_size, DType::kF32},
      AsMatrix(exit.other, 1, hidden_size)};
  SPADE_ASSIGN_OR_RETURN(added.head, backend_->Pack(head, weight_dtype));
  exits_.push_back(std::move(added));
  return absl::OkStatus();
}

void TokenHeads::Guess(int32_t layer, Tensor rows, std::span<TokenGuess> guesses) {
  const auto exit =
      std::ranges::find_if(exits_, [layer](const Exit& other) { return other.layer == layer; });
  SPADE_CHECK(exit != exits_.end() && rows.rows == std::ssize(guesses));
  const auto entries = std::ssize(candidates_) + 1;
  const Tensor narrowed{narrowed_.data(), rows.rows, rank_, DType::kF32};
  const Tensor logits{logits_.data(), rows.rows, entries, DType::kF32};
  SPADE_CHECK(logits.bytes() <= logits_.size());
  backend_->MatMul(rows, exit->down, {}, narrowed);
  backend_->MatMul(narrowed, exit->up, {.accumulate = true}, rows);
  backend_->RmsNorm(rows, static_cast<const float*>(norm_.data()), norm_epsilon_, rows);
  backend_->MatMul(rows, exit->head, {}, logits);
  if (backend_->logit_reader() != nullptr) return Read(*exit, logits, guesses);
  const float* values = backend_->HostView(logits);
  const auto conclude = [&](int64_t i) {
    Conclude(*exit, std::span(values + i * entries, static_cast<size_t>(entries)),
             guesses[static_cast<size_t>(i)]);
  };
  backend_->ParallelFor(rows.rows, std::ref(conclude));
}

void TokenHeads::Read(const Exit& exit, Tensor logits, std::span<TokenGuess> guesses) {
  queries_.clear();
  for (const TokenGuess& guess : guesses) {
    queries_.push_back(guess.draw);
    queries_.back().row = static_cast<int32_t>(queries_.size()) - 1;
    queries_.back().temperature *= exit.temperature;
  }
  answers_.resize(guesses.size());
  const OtherTokens other = {.bias = exit.other_bias, .temperature = exit.temperature};
  backend_->logit_reader()->Read(logits, {.queries = queries_, .other = other}, answers_);
  for (size_t i = 0; i < guesses.size(); ++i) {
    guesses[i].entropy = answers_[i].entropy;
    // No token, or any: an entropy that is infinite lets none leave.
    guesses[i].token = candidates_[static_cast<size_t>(std::max(answers_[i].token, 0))];
  }
}

void TokenHeads::Conclude(const Exit& exit, std::span<const float> logits,
                          TokenGuess& guess) const {
  guess.logits = logits.first(candidates_.size());
  guess.temperature = exit.temperature;
  const float other = logits.back() + exit.other_bias;
  const float top = std::max(*std::ranges::max_element(guess.logits), other);
  double sum = 0;
  double weighted = 0;  // sum of exp(z) * z, z = (logit - top) / temperature
  const auto add = [&](float logit) {
    const double z = double{logit - top} / exit.temperature;
    const double e = std::exp(z);
    sum += e;
    if (e > 0) weighted += e * z;
  };
  for (const float logit : guess.logits) add(logit);
  add(other);
  const double entropy = std::log(sum) - weighted / sum;
  // A hidden state that is not finite must never look certain.
  guess.entropy = std::isfinite(entropy) ? static_cast<float>(std::max(entropy, 0.0))
                                         : std::numeric_limits<float>::infinity();
}

}  // namespace spade
