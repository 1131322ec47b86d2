#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/exit/calibration.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"

namespace spade {

struct ClimbResult {
  std::vector<int32_t> answers;      // (prompts): label
  std::vector<int32_t> exit_layers;  // (prompts): where it left; num_layers at full depth
};

// Answers a batch of prompts in one climb. With a certificate, prompts leave at its thresholds and
// finish as SPADE rows of the same climb, as the engine serves them; null: full depth. The model's
// exits are the calibration's.
ClimbResult Climb(LoadedModel& loaded, std::span<const Prompt> prompts,
                  const Calibration& calibration, const Certificate* certificate);

}  // namespace spade
