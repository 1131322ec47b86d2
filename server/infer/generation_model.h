#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/runtime/request.h"
#include "engine/tokenizer/tokenizer.h"
#include "server/infer/arguments.h"
#include "server/infer/infer_output.h"
#include "server/infer/tensor_spec.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// The generation model, with the tensors of Triton's vLLM back end and the scalar ones of its
// TensorRT-LLM ensemble.
std::span<const TensorSpec> GenerationInputs();
std::span<const TensorSpec> GenerationOutputs();

// Which outputs a request wants, and how.
struct GenerationView {
  bool stream = false;  // a response per delta, else one at the end
  bool echo = false;    // the prompt stands before the text
  bool finish_reason = false;
  bool cumulative_logprob = false;
  bool logprobs = false;
  bool num_input_tokens = false;
  bool num_output_tokens = false;
  bool compute_saved = false;
};

struct GenerationPlan {
  v1::GenerateRequest request;  // unchecked: RequestConverter's to check
  GenerationView view;
};

// INVALID_ARGUMENT names the argument.
absl::StatusOr<GenerationPlan> PlanGeneration(Arguments arguments);

// Output of one generation to responses. What waits is merged. Not thread-safe.
class GenerationOutput final : public InferOutput {
 public:
  // `tokenizer` outlives this.
  GenerationOutput(const GenerationView& view, const Tokenizer* tokenizer, std::string prompt,
                   int32_t num_sequences, int32_t prompt_tokens);

  void Add(const GenerateDelta& delta) override;
  bool empty() const override;
  MakeInferResponse Take() override;

 private:
  struct Sequence {
    std::string text;
    std::vector<SampledToken> tokens;
    std::string finish_reason;
    double cumulative_logprob = 0;
    double compute_saved = 0;  // known at the end
  };

  // What one response is made of.
  struct Part {
    GenerationView view;
    const Tokenizer* tokenizer;
    std::vector<Sequence> sequences;
    uint32_t prompt_tokens;
    bool is_last;
  };
  static ::inference::ModelInferResponse Make(const Part& part);
  static std::string LogprobsJson(const Sequence& sequence, const Tokenizer& tokenizer);

  const GenerationView view_;
  const Tokenizer* const tokenizer_;
  std::vector<Sequence> sequences_;
  const uint32_t prompt_tokens_;
  int32_t unfinished_;
  bool pending_ = false;  // something to send, in a stream
};

}  // namespace spade
