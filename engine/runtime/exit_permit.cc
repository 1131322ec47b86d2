#include "engine/runtime/exit_permit.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

absl::Status Refused(absl::string_view message) { return absl::FailedPreconditionError(message); }

bool SameLabels(std::vector<TokenId> a, std::vector<TokenId> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

// A bias that moves no label against another changes no answer.
bool ChangesAnswer(std::span<const float> bias) {
  return std::any_of(bias.begin(), bias.end(), [&](float value) { return value != bias[0]; });
}

absl::Status NoCertificate(const std::vector<Certificate>& certificates, double max_mismatch) {
  if (certificates.empty()) {
    return Refused("max_mismatch: the calibration certifies no bound; use EXACT");
  }
  return Refused(absl::StrCat("max_mismatch: ", max_mismatch,
                              " is not covered; the strictest bound certified here is ",
                              certificates.front().max_mismatch));
}

absl::Status NoCalibration(absl::string_view tool, const ModelInfo& model) {
  if (!model.unfit_calibration.empty()) {
    return Refused(
        absl::StrCat("mode: no calibration of this kind fits the model as it is served; "
                     "use EXACT. ",
                     model.unfit_calibration));
  }
  return Refused(absl::StrCat(
      "mode: no calibration is loaded; use EXACT, or start the server with a file of ", tool));
}

absl::Status CheckStartToken(const RequestContext& context, const ModelConfig& config) {
  if (context.prompt.front() == config.bos_id) return absl::OkStatus();
  return Refused(
      "prompt: must begin with the model's start token to leave early; use EXACT, or add special "
      "tokens");
}

absl::Status CheckGreedy(const GenerateRequest& request) {
  if (!request.sampling.greedy() || !request.sampling.plain()) {
    return Refused(
        "mode: FAST is certified for greedy decoding without penalties, logit_bias or "
        "allowed_token_ids; set temperature to 0, or use VERIFIED or EXACT");
  }
  if (request.sampling.num_logprobs) {
    return Refused("logprobs: FAST has none for early tokens; drop them, or use VERIFIED or EXACT");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExitPermit> FindPermit(const DecideRequest& request, const ModelInfo& model) {
  if (request.mode == ExitMode::kExact) return ExitPermit{};
  if (model.calibrations.empty()) return NoCalibration("spade-calibrate", model);
  const Calibration* matching = nullptr;
  for (const Calibration& calibration : model.calibrations) {
    if (!SameLabels(calibration.label_ids, request.labels)) continue;
    matching = &calibration;
    if (const Certificate* certificate =
            CertificateFor(calibration.certificates, request.max_mismatch)) {
      if (ChangesAnswer(request.label_bias)) {
        return Refused(
            "label_bias: certificates hold without label priors only; drop them or use EXACT");
      }
      SPADE_RETURN_IF_ERROR(CheckStartToken(request.context, model.config));
      return ExitPermit{&calibration, certificate};
    }
  }
  if (matching != nullptr) return NoCertificate(matching->certificates, request.max_mismatch);
  return Refused("labels: no loaded calibration is for exactly this label set; use EXACT");
}

absl::StatusOr<TokenPermit> FindPermit(const GenerateRequest& request, const ModelInfo& model) {
  if (request.mode == ExitMode::kExact) return TokenPermit{};
  const std::optional<TokenCalibration>& calibration = model.token_calibration;
  if (!calibration) return NoCalibration("spade-calibrate --generate", model);
  if (request.mode == ExitMode::kVerified) return TokenPermit{&*calibration, nullptr};
  SPADE_RETURN_IF_ERROR(CheckGreedy(request));
  SPADE_RETURN_IF_ERROR(CheckStartToken(request.context, model.config));
  const Certificate* certificate = CertificateFor(calibration->certificates, request.max_mismatch);
  if (certificate == nullptr) {
    return NoCertificate(calibration->certificates, request.max_mismatch);
  }
  return TokenPermit{&*calibration, certificate};
}

}  // namespace spade
