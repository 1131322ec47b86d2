#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace spade {

// Tensor name -> name of the shard that holds it, from model.safetensors.index.json. Shard names
// are plain file names. INVALID_ARGUMENT where the index is malformed or a name leaves the folder.
absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view json);

}  // namespace spade
