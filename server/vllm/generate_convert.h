#pragma once

#include "absl/status/statusor.h"
#include "server/request_convert.h"
#include "vllm/vllm_engine.pb.h"

namespace spade {

namespace vllm_api = ::vllm::grpc::engine;

// A vLLM engine request as one of the engine's, by way of our own API, whose checks it passes.
// INVALID_ARGUMENT names vLLM's field; UNIMPLEMENTED: structured output, other modalities, transfer
// of KV caches, several data-parallel ranks.
absl::StatusOr<GenerateRequest> ConvertVllmRequest(const vllm_api::GenerateRequest& request,
                                                   const RequestConverter& converter,
                                                   int32_t max_context,
                                                   Admit<GenerateRequest> admit = AdmitAny());

}  // namespace spade
