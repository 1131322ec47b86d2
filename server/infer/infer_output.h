#pragma once

#include <functional>

#include "engine/runtime/request.h"
#include "inference/open_inference.pb.h"
#include "kernels/check.h"

namespace spade {

// Makes a response of what was taken for it. It may take its time: one text of JSON holds the
// logprobs of a whole output. Once, from any thread.
using MakeInferResponse = std::function<::inference::ModelInferResponse()>;

// One inference's unsent responses; who sends them adds model name and id. Not thread-safe.
class InferOutput {
 public:
  virtual ~InferOutput() = default;

  // Each kind of model has one of these.
  virtual void Add(const GenerateDelta&) { SPADE_CHECK(false); }
  virtual void Add(DecisionKind, const Decision&) { SPADE_CHECK(false); }

  virtual bool empty() const = 0;
  // Must not be empty. Quick, for it is called where the engine may wait; what it returns is not to
  // be.
  virtual MakeInferResponse Take() = 0;
};

// The parameter that says whether more responses follow.
inline constexpr char kFinalResponse[] = "triton_final_response";

}  // namespace spade
