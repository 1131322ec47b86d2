#pragma once

#include "engine/runtime/request.h"
#include "inference/open_inference.pb.h"
#include "kernels/check.h"

namespace spade {

// One inference's unsent responses; who sends them adds model name and id. Not thread-safe.
class InferOutput {
 public:
  virtual ~InferOutput() = default;

  // Each kind of model has one of these.
  virtual void Add(const GenerateDelta&) { SPADE_CHECK(false); }
  virtual void Add(DecisionKind, const Decision&) { SPADE_CHECK(false); }

  virtual bool empty() const = 0;
  virtual ::inference::ModelInferResponse Take() = 0;  // must not be empty
};

// The parameter that says whether more responses follow.
inline constexpr char kFinalResponse[] = "triton_final_response";

}  // namespace spade
