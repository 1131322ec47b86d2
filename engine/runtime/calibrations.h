#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/model/checkpoint.h"
#include "engine/runtime/engine.h"

namespace spade {

// Loads calibration files into `info`, whose model, weight dtype and compute are set; its
// model_sha256 too. An empty compute and no kv_dtype become those of the first file that fits.
// FAILED_PRECONDITION, naming the file and the part, where one was made for anything else, unless
// such are skipped.
absl::Status LoadCalibrations(const EngineOptions& options, const Checkpoint& checkpoint,
                              const Tokenizer& tokenizer, ModelInfo* info);

// The layers after which some calibration has an exit, and `more` of them: ascending.
std::vector<int32_t> ExitLayers(const ModelInfo& info, std::span<const int32_t> more);

}  // namespace spade
