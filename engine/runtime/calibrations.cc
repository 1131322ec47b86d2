#include "engine/runtime/calibrations.h"

#include <spdlog/spdlog.h>

#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

// Whether "auto" may stand for these products: the device has them, and int8 is never chosen for
// the user.
bool MayBeChosen(const BackendOptions& backend, Compute compute, const std::string& weights) {
  const std::optional<DType> dtype = WeightTypeNamed(weights);
  return dtype && compute != Compute::kI8 && Suits(backend, compute, *dtype);
}

absl::Status CheckIdentity(const CalibrationIdentity& calibration, const BackendOptions& backend,
                           const ModelInfo& info, const Tokenizer& tokenizer) {
  const auto mismatch = [](absl::string_view part, const auto& has, const auto& needs) {
    return absl::FailedPreconditionError(absl::StrCat(part, " does not match: it was made for ",
                                                      has, ", the engine runs ", needs,
                                                      "; calibrate again with spade-calibrate"));
  };
  if (calibration.model_sha256 != info.model_sha256) {
    return mismatch("the model's hash", calibration.model_sha256, info.model_sha256);
  }
  if (calibration.tokenizer_sha256 != tokenizer.sha256()) {
    return mismatch("the tokenizer's hash", calibration.tokenizer_sha256, tokenizer.sha256());
  }
  if (calibration.weight_dtype != info.weight_dtype) {
    return mismatch("the weight dtype", calibration.weight_dtype, info.weight_dtype);
  }
  const bool fits = info.compute.empty()
                        ? MayBeChosen(backend, calibration.compute, info.weight_dtype)
                        : NameOf(calibration.compute) == info.compute;
  if (!fits) {
    return mismatch("the type of products", std::string(NameOf(calibration.compute)),
                    absl::StrCat(info.compute.empty() ? "auto" : info.compute, " (--compute) on ",
                                 backend.device));
  }
  if (info.kv_dtype && calibration.kv_dtype != *info.kv_dtype) {
    return mismatch("the type of keys and values (--kv-dtype)",
                    std::string(NameOf(calibration.kv_dtype)), std::string(NameOf(*info.kv_dtype)));
  }
  if (calibration.hidden_size != info.config.hidden_size) {
    return mismatch("the hidden size", calibration.hidden_size, info.config.hidden_size);
  }
  return absl::OkStatus();
}

// What was open is the calibration's.
void Adopt(const CalibrationIdentity& calibration, ModelInfo* info) {
  info->compute = NameOf(calibration.compute);
  info->kv_dtype = calibration.kv_dtype;
}

// `ids`: the calibration's labels or candidates.
template <typename AnyKind>
absl::Status CheckCalibration(const AnyKind& calibration, std::span<const TokenId> ids,
                              const BackendOptions& backend, const ModelInfo& info,
                              const Tokenizer& tokenizer) {
  SPADE_RETURN_IF_ERROR(CheckIdentity(calibration, backend, info, tokenizer));
  if (calibration.exits.back().layer >= info.config.num_layers) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has an exit after layer ", calibration.exits.back().layer,
                     ", but the model has ", info.config.num_layers, " layers"));
  }
  for (const TokenId id : ids) {
    if (id < 0 || id >= info.config.vocab_size) {
      return absl::FailedPreconditionError(absl::StrCat(
          "it has token id ", id, ", outside the vocabulary of ", info.config.vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status AddCalibration(Calibration calibration, const BackendOptions& backend,
                            const Tokenizer& tokenizer, ModelInfo* info) {
  SPADE_RETURN_IF_ERROR(
      CheckCalibration(calibration, calibration.label_ids, backend, *info, tokenizer));
  Adopt(calibration, info);
  spdlog::info("calibration loaded id={} labels={} exits={}", calibration.id,
               calibration.label_ids.size(), calibration.exits.size());
  info->calibrations.push_back(std::move(calibration));
  return absl::OkStatus();
}

absl::Status AddCalibration(TokenCalibration calibration, const BackendOptions& backend,
                            const Tokenizer& tokenizer, ModelInfo* info) {
  SPADE_RETURN_IF_ERROR(
      CheckCalibration(calibration, calibration.candidates, backend, *info, tokenizer));
  Adopt(calibration, info);
  if (info->token_calibration) {
    return absl::InvalidArgumentError(
        "a calibration for generation was loaded already; name only one");
  }
  spdlog::info("calibration for generation loaded id={} candidates={} exits={}", calibration.id,
               calibration.candidates.size(), calibration.exits.size());
  info->token_calibration = std::move(calibration);
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadCalibrations(const EngineOptions& options, const Checkpoint& checkpoint,
                              const Tokenizer& tokenizer, ModelInfo* info) {
  if (options.calibrations.empty()) return absl::OkStatus();
  info->model_sha256 = checkpoint.Sha256();
  for (const std::string& path : options.calibrations) {
    SPADE_ASSIGN_OR_RETURN(AnyCalibration any, LoadAnyCalibration(path));
    absl::Status status = std::visit(
        [&](auto& calibration) {
          return AddCalibration(std::move(calibration), options.backend, tokenizer, info);
        },
        any);
    if (status.ok()) continue;
    status = absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
    if (!options.skip_unfit_calibrations || !absl::IsFailedPrecondition(status)) return status;
    info->unfit_calibration = std::string(status.message());
    spdlog::warn("calibration left out, there is no early exit with it: {}",
                 info->unfit_calibration);
  }
  return absl::OkStatus();
}

std::vector<int32_t> ExitLayers(const ModelInfo& info, std::span<const int32_t> more) {
  std::set<int32_t> layers(more.begin(), more.end());
  for (const Calibration& calibration : info.calibrations) {
    for (const ExitHead& exit : calibration.exits) layers.insert(exit.layer);
  }
  if (info.token_calibration) {
    for (const TokenExit& exit : info.token_calibration->exits) layers.insert(exit.layer);
  }
  return {layers.begin(), layers.end()};
}

}  // namespace spade
