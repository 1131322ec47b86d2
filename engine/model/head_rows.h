#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/types.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"

namespace spade {

// Some rows of the model's output head with the final norm, in host memory.
struct HeadRows {
  std::vector<float> rows;  // (ids, hidden)
  std::vector<float> norm;  // (hidden)
};

// INVALID_ARGUMENT names a tensor that is missing or misshapen, or an id outside the vocabulary.
absl::StatusOr<HeadRows> ReadHeadRows(const ModelConfig& config, const Checkpoint& checkpoint,
                                      std::span<const TokenId> ids);

}  // namespace spade
