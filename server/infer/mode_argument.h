#pragma once

#include "absl/status/statusor.h"
#include "server/infer/arguments.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// The argument `mode`: exact (also where it is absent), verified or fast.
absl::StatusOr<v1::Mode> TakeMode(Arguments& arguments);

}  // namespace spade
