#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"
#include "engine/exit/token_calibration.h"

namespace spade {

inline constexpr char kCalibrationKey[] = "spade.calibration";  // in "__metadata__": JSON text
inline constexpr char kCalibrationFormat[] = "spade-calibration-1";
inline constexpr char kTokenCalibrationFormat[] = "spade-token-calibration-1";

// Names of an exit's tensors: F32, (labels, hidden) and (labels).
std::string WeightName(int32_t layer);
std::string BiasName(int32_t layer);

// The file's bytes, the same for equal content. `id` is not stored: it is the file's SHA-256.
std::string SerializeCalibration(const Calibration& calibration);

// INVALID_ARGUMENT names what is malformed. Never reads outside `bytes`.
absl::StatusOr<Calibration> ParseCalibration(std::span<const std::byte> bytes);

// The same for a TokenCalibration.
std::string SerializeTokenCalibration(const TokenCalibration& calibration);
absl::StatusOr<TokenCalibration> ParseTokenCalibration(std::span<const std::byte> bytes);

}  // namespace spade
