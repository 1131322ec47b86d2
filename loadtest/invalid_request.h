#pragma once

#include <string>

#include "loadtest/chaos.h"
#include "loadtest/request.h"
#include "loadtest/rng.h"
#include "loadtest/workload.h"
#include "spade/v1/inference.pb.h"

namespace spade::loadtest {

// One that makes sense for requests of this kind.
InvalidRequest ChooseInvalidRequest(Rng& rng, Kind kind);

// Spoils a valid request and returns its bytes.
std::string MakeInvalidPayload(InvalidRequest variant, const ModelFacts& model,
                               v1::GenerateRequest& request);
std::string MakeInvalidPayload(InvalidRequest variant, const ModelFacts& model,
                               v1::DecideRequest& request);

}  // namespace spade::loadtest
