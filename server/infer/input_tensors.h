#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "absl/status/statusor.h"
#include "inference/open_inference.pb.h"
#include "server/infer/tensor_spec.h"

namespace spade {

// A request's arguments by name, as one JSON object: its parameters, then its input tensors, which
// win. A tensor declared as single is a value, else an array. Strings are the client's bytes,
// unchecked. Parameters that the protocol reserves are left out. INVALID_ARGUMENT names the input:
// unknown, missing, wrong datatype, or contents that do not fit its shape; UNIMPLEMENTED: shared
// memory and sequences.
absl::StatusOr<nlohmann::json> InferArguments(const ::inference::ModelInferRequest& request,
                                              std::span<const TensorSpec> specs);

}  // namespace spade
