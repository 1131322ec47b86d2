#include "tests/bench/forced_engine.h"

#include <limits>
#include <utility>

#include "engine/base/status_macros.h"

namespace spade::bench {
namespace {

constexpr TokenId kEarlyToken = 17;

class ForcedTokens final : public TokenExits {
 public:
  ForcedTokens(const Scheduler* scheduler, ForcedDepth depth)
      : scheduler_(*scheduler), depth_(std::move(depth)) {}

  std::span<const TokenId> candidates() const override { return candidates_; }
  void Guess(int32_t layer, Tensor, std::span<TokenGuess> guesses) override {
    for (TokenGuess& guess : guesses) {
      const bool leaves = depth_(*scheduler_.Find(guess.sequence), guess.position) <= layer;
      guess.entropy = leaves ? 0 : std::numeric_limits<float>::infinity();
      guess.logits = logits_;
    }
  }

 private:
  const Scheduler& scheduler_;
  const ForcedDepth depth_;
  const std::vector<TokenId> candidates_ = {kEarlyToken};
  const std::vector<float> logits_ = {0};
};

// Open to any entropy that is finite.
TokenCalibration OpenForTokens(const ModelInfo& info, std::span<const int32_t> exit_layers) {
  TokenCalibration calibration;
  calibration.hidden_size = info.config.hidden_size;
  for (const int32_t layer : exit_layers) calibration.exits.emplace_back().layer = layer;
  Certificate certificate;
  certificate.max_mismatch = kForcedMismatch;
  certificate.thresholds.assign(exit_layers.size(), 1.0f);
  calibration.certificates = {certificate};
  return calibration;
}

// Heads that know nothing, and for each exit a certificate that only opens this one.
Calibration OpenForDecisions(const ModelInfo& info, std::span<const int32_t> exit_layers) {
  Calibration calibration;
  calibration.hidden_size = info.config.hidden_size;
  calibration.label_ids.assign(std::begin(kForcedLabels), std::end(kForcedLabels));
  calibration.label_texts = {"a", "b", "c", "d"};
  const size_t labels = calibration.label_ids.size();
  for (size_t i = 0; i < exit_layers.size(); ++i) {
    ExitHead head;
    head.layer = exit_layers[i];
    head.weight.assign(labels * static_cast<size_t>(info.config.hidden_size), 0.0f);
    head.bias.assign(labels, 0.0f);
    calibration.exits.push_back(std::move(head));
    Certificate certificate;
    certificate.max_mismatch = kForcedMismatch * static_cast<double>(i + 1);
    certificate.thresholds.assign(exit_layers.size(), 0.0f);
    certificate.thresholds[i] = 100;
    calibration.certificates.push_back(std::move(certificate));
  }
  return calibration;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EngineParts>> LoadForcedParts(const EngineOptions& options,
                                                             std::vector<int32_t> exit_layers,
                                                             ForcedDepth depth) {
  PartsOverrides overrides;
  overrides.exit_layers = exit_layers;
  SPADE_ASSIGN_OR_RETURN(std::unique_ptr<EngineParts> parts, LoadEngineParts(options, overrides));
  SPADE_RETURN_IF_ERROR(parts->model->PrepareStart());
  parts->info.calibrations = {OpenForDecisions(parts->info, exit_layers)};
  parts->info.token_calibration = OpenForTokens(parts->info, exit_layers);
  parts->token_exits = std::make_unique<ForcedTokens>(parts->scheduler.get(), std::move(depth));
  SPADE_RETURN_IF_ERROR(MakeRunner(options, parts.get()));
  return parts;
}

GenerateRequest ForcedGeneration(std::vector<TokenId> prompt, int32_t tokens, ExitMode mode) {
  GenerateRequest request;
  request.context.prompt = std::move(prompt);
  request.max_tokens = tokens;
  request.ignore_eos = true;
  request.detokenize = false;
  request.sampling.temperature = 0;
  request.mode = mode;
  request.max_mismatch = mode == ExitMode::kFast ? kForcedMismatch : 0;
  return request;
}

std::string ExitMixOf(const std::string& shape) {
  if (shape == "8b") return "14:0.15,20:0.2,26:0.25";
  if (shape == "1.1b") return "10:0.15,14:0.2,18:0.25";
  if (shape == "135m") return "14:0.15,19:0.2,24:0.25";
  return "6:0.15,8:0.2,10:0.25";
}

}  // namespace spade::bench
