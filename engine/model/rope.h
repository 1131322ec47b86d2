#pragma once

#include "absl/status/statusor.h"
#include "engine/model/json_fields.h"
#include "engine/model/model_config.h"

namespace spade {

struct RopeParameters {
  double theta = 10000;
  RopeScaling scaling;
};

// Reads config.json's rotary settings: the classic layout (`rope_theta`, `rope_scaling`) or the one
// of transformers 5 (`rope_parameters` holding both). UNIMPLEMENTED for other kinds of scaling.
absl::StatusOr<RopeParameters> ParseRope(const JsonFields& config, int32_t max_positions);

}  // namespace spade
