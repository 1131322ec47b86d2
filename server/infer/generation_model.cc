#include "server/infer/generation_model.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "server/field_check.h"
#include "server/infer/mode_argument.h"
#include "server/infer/output_tensors.h"

namespace spade {
namespace {

constexpr TensorSpec kInputs[] = {
    {"text_input", TensorKind::kText, ::inference::TYPE_STRING, true, false},
    {"stream", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"sampling_parameters", TensorKind::kText, ::inference::TYPE_STRING, true, true},
    {"exclude_input_in_output", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"return_finish_reason", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"return_cumulative_logprob", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"return_logprobs", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"return_num_input_tokens", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"return_num_output_tokens", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"return_compute_saved", TensorKind::kBool, ::inference::TYPE_BOOL, true, true},
    {"max_tokens", TensorKind::kInteger, ::inference::TYPE_UINT32, true, true},
    {"min_length", TensorKind::kInteger, ::inference::TYPE_UINT32, true, true},
    {"top_k", TensorKind::kInteger, ::inference::TYPE_UINT32, true, true},
    {"top_p", TensorKind::kReal, ::inference::TYPE_FP32, true, true},
    {"temperature", TensorKind::kReal, ::inference::TYPE_FP32, true, true},
    {"repetition_penalty", TensorKind::kReal, ::inference::TYPE_FP32, true, true},
    {"presence_penalty", TensorKind::kReal, ::inference::TYPE_FP32, true, true},
    {"frequency_penalty", TensorKind::kReal, ::inference::TYPE_FP32, true, true},
    {"random_seed", TensorKind::kInteger, ::inference::TYPE_UINT64, true, true},
    {"stop_words", TensorKind::kText, ::inference::TYPE_STRING, false, true},
    {"mode", TensorKind::kText, ::inference::TYPE_STRING, true, true},
    {"max_mismatch", TensorKind::kReal, ::inference::TYPE_FP64, true, true},
};

constexpr TensorSpec kOutputs[] = {
    {"text_output", TensorKind::kText, ::inference::TYPE_STRING, false, false},
    {"finish_reason", TensorKind::kText, ::inference::TYPE_STRING, false, true},
    {"cumulative_logprob", TensorKind::kReal, ::inference::TYPE_FP32, false, true},
    {"logprobs", TensorKind::kText, ::inference::TYPE_STRING, false, true},
    {"num_input_tokens", TensorKind::kInteger, ::inference::TYPE_UINT32, true, true},
    {"num_output_tokens", TensorKind::kInteger, ::inference::TYPE_UINT32, false, true},
    {"compute_saved", TensorKind::kReal, ::inference::TYPE_FP32, false, true},
};

// vLLM's name, or the ensemble's.
template <typename Value>
std::optional<Value> Either(std::optional<Value> first, std::optional<Value> second) {
  return first.has_value() ? first : second;
}

void PlanSampling(Arguments& arguments, v1::Sampling* sampling) {
  if (const auto value = arguments.Real("temperature")) sampling->set_temperature(*value);
  if (const auto value = arguments.Real("top_p")) sampling->set_top_p(*value);
  if (const auto value = arguments.Real("min_p")) sampling->set_min_p(*value);
  if (const auto value = arguments.Signed("top_k")) {
    sampling->set_top_k(*value == -1 ? 0 : static_cast<uint32_t>(*value));  // both are off
  }
  if (const auto value = arguments.Real("repetition_penalty")) {
    sampling->set_repetition_penalty(*value);
  }
  if (const auto value = arguments.Real("presence_penalty")) sampling->set_presence_penalty(*value);
  if (const auto value = arguments.Real("frequency_penalty")) {
    sampling->set_frequency_penalty(*value);
  }
  for (const auto& [id, bias] : arguments.Weights("logit_bias")) {
    (*sampling->mutable_logit_bias())[id] = static_cast<float>(bias);
  }
  for (const uint32_t id : arguments.Unsigneds("allowed_token_ids")) {
    sampling->add_allowed_token_ids(id);
  }
  const auto seed = Either(arguments.Unsigned64("seed"), arguments.Unsigned64("random_seed"));
  if (seed.has_value()) sampling->set_seed(*seed);
}

void PlanStopping(Arguments& arguments, v1::Stopping* stopping) {
  if (const auto value = arguments.Unsigned("max_tokens")) stopping->set_max_tokens(*value);
  const auto min_tokens =
      Either(arguments.Unsigned("min_tokens"), arguments.Unsigned("min_length"));
  if (min_tokens.has_value()) stopping->set_min_tokens(*min_tokens);
  for (std::string& stop : arguments.Texts("stop")) stopping->add_stop(std::move(stop));
  for (std::string& stop : arguments.Texts("stop_words")) stopping->add_stop(std::move(stop));
  for (const uint32_t id : arguments.Unsigneds("stop_token_ids")) stopping->add_stop_token_ids(id);
  stopping->set_ignore_eos(arguments.Bool("ignore_eos").value_or(false));
  stopping->set_include_stop(arguments.Bool("include_stop_str_in_output").value_or(false));
}

absl::StatusOr<GenerationView> PlanView(Arguments& arguments) {
  GenerationView view;
  view.stream = arguments.Bool("stream").value_or(false);
  view.echo = !arguments.Bool("exclude_input_in_output").value_or(view.stream);
  if (view.stream && view.echo) {
    return FieldError("exclude_input_in_output", "a stream never repeats its input");
  }
  view.finish_reason = arguments.Bool("return_finish_reason").value_or(false);
  view.cumulative_logprob = arguments.Bool("return_cumulative_logprob").value_or(false);
  view.logprobs = arguments.Bool("return_logprobs").value_or(false);
  view.num_input_tokens = arguments.Bool("return_num_input_tokens").value_or(false);
  view.num_output_tokens = arguments.Bool("return_num_output_tokens").value_or(false);
  view.compute_saved = arguments.Bool("return_compute_saved").value_or(false);
  return view;
}

}  // namespace

std::span<const TensorSpec> GenerationInputs() { return kInputs; }
std::span<const TensorSpec> GenerationOutputs() { return kOutputs; }

absl::StatusOr<GenerationPlan> PlanGeneration(Arguments arguments) {
  GenerationPlan plan;
  arguments.Merge("sampling_parameters");
  SPADE_ASSIGN_OR_RETURN(plan.view, PlanView(arguments));
  v1::GenerateRequest& request = plan.request;
  request.set_text(arguments.Text("text_input").value_or(""));
  request.set_n(arguments.Unsigned("n").value_or(1));
  if (request.n() > 1 && plan.view.stream) {
    return FieldError("n", "a stream carries one continuation");
  }
  SPADE_ASSIGN_OR_RETURN(const v1::Mode mode, TakeMode(arguments));
  request.set_mode(mode);
  request.set_max_mismatch(arguments.Real("max_mismatch").value_or(0));
  request.set_cache_salt(arguments.Text("cache_salt").value_or(""));
  PlanSampling(arguments, request.mutable_sampling());
  PlanStopping(arguments, request.mutable_stopping());
  if (const auto value = arguments.Bool("skip_special_tokens")) {
    request.mutable_output()->set_skip_special_tokens(*value);
  }
  arguments.Bool("spaces_between_special_tokens");  // this tokenizer's texts have none to leave out
  if (plan.view.logprobs || plan.view.cumulative_logprob) request.mutable_output()->set_logprobs(0);
  if (const auto value = arguments.Unsigned("logprobs")) {
    request.mutable_output()->set_logprobs(*value);
  }
  SPADE_RETURN_IF_ERROR(arguments.Finish());
  return plan;
}

GenerationOutput::GenerationOutput(const GenerationView& view, const Tokenizer* tokenizer,
                                   std::string prompt, int32_t num_sequences, int32_t prompt_tokens)
    : view_(view),
      tokenizer_(tokenizer),
      sequences_(static_cast<size_t>(num_sequences)),
      prompt_tokens_(static_cast<uint32_t>(prompt_tokens)),
      unfinished_(num_sequences) {
  if (!view_.echo) return;
  for (Sequence& sequence : sequences_) sequence.text = prompt;
}

void GenerationOutput::Add(const GenerateDelta& delta) {
  Sequence& sequence = sequences_.at(static_cast<size_t>(delta.index));
  sequence.text += delta.text;
  for (const SampledToken& token : delta.tokens) {
    sequence.cumulative_logprob += token.logprob;
    sequence.tokens.push_back(token);
  }
  pending_ = true;
  if (!delta.finish.has_value()) return;
  sequence.finish_reason = delta.finish->reason == FinishReason::kStop ? "stop" : "length";
  if (const auto& early = delta.finish->early; early && early->layer_rows_full > 0) {
    sequence.compute_saved = early->layer_rows_saved / early->layer_rows_full;
  }
  --unfinished_;
}

bool GenerationOutput::empty() const { return !pending_ || (!view_.stream && unfinished_ > 0); }

MakeInferResponse GenerationOutput::Take() {
  Part part{view_, tokenizer_, {}, prompt_tokens_, unfinished_ == 0};
  for (Sequence& sequence : sequences_) {
    Sequence rest;
    rest.finish_reason = sequence.finish_reason;
    rest.cumulative_logprob = sequence.cumulative_logprob;
    rest.compute_saved = sequence.compute_saved;
    part.sequences.push_back(std::exchange(sequence, std::move(rest)));
  }
  pending_ = false;
  return [part = std::move(part)] { return Make(part); };
}

::inference::ModelInferResponse GenerationOutput::Make(const Part& part) {
  const GenerationView& view = part.view;
  ::inference::ModelInferResponse response;
  std::vector<std::string> texts;
  std::vector<std::string> reasons;
  std::vector<std::string> logprobs;
  std::vector<float> cumulative;
  std::vector<uint32_t> num_tokens;
  std::vector<float> compute_saved;
  for (const Sequence& sequence : part.sequences) {
    if (view.logprobs) logprobs.push_back(LogprobsJson(sequence, *part.tokenizer));
    texts.push_back(sequence.text);
    reasons.push_back(sequence.finish_reason);
    cumulative.push_back(static_cast<float>(sequence.cumulative_logprob));
    num_tokens.push_back(static_cast<uint32_t>(sequence.tokens.size()));
    compute_saved.push_back(static_cast<float>(sequence.compute_saved));
  }
  OutputWriter writer(&response);
  writer.AddText("text_output", texts);
  if (view.finish_reason) writer.AddText("finish_reason", reasons);
  if (view.cumulative_logprob) writer.AddReal("cumulative_logprob", cumulative);
  if (view.logprobs) writer.AddText("logprobs", logprobs);
  if (view.num_input_tokens) writer.AddUint32("num_input_tokens", part.prompt_tokens);
  if (view.num_output_tokens) writer.AddUint32("num_output_tokens", num_tokens);
  if (view.compute_saved) writer.AddReal("compute_saved", compute_saved);
  (*response.mutable_parameters())[kFinalResponse].set_bool_param(part.is_last);
  return response;
}

// [{"<id>": {"logprob": ..., "rank": ..., "decoded_token": ...}, ...alternatives}, ...]
std::string GenerationOutput::LogprobsJson(const Sequence& sequence, const Tokenizer& tokenizer) {
  auto all = nlohmann::json::array();
  const auto add = [&](nlohmann::json* entry, TokenId id, double logprob, int32_t rank) {
    (*entry)[std::to_string(id)] = {
        {"logprob", logprob},
        {"rank", rank},
        {"decoded_token", tokenizer.Decode({id}, /*skip_special_tokens=*/false)}};
  };
  for (const SampledToken& token : sequence.tokens) {
    auto entry = nlohmann::json::object();
    int32_t rank = 0;
    for (const TokenLogprob& top : token.top) add(&entry, top.id, top.logprob, ++rank);
    add(&entry, token.id, token.logprob, token.rank);
    all.push_back(std::move(entry));
  }
  return all.dump();
}

}  // namespace spade
