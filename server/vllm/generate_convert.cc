#include "server/vllm/generate_convert.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/field_check.h"

namespace spade {
namespace {

absl::Status Unsupported(const std::string& field, const std::string& what) {
  return absl::UnimplementedError(absl::StrCat(field, ": this server has no ", what));
}

absl::Status CheckSupported(const vllm_api::GenerateRequest& request) {
  if (request.has_mm_inputs() || request.has_media_refs() || request.extra_mm_inputs_size() > 0) {
    return Unsupported("mm_inputs", "modality but text");
  }
  if (request.has_kv_transfer_params() || !request.kv_transfer_params_json().empty()) {
    return Unsupported("kv_transfer_params", "transfer of KV caches");
  }
  if (request.data_parallel_rank() != 0) return Unsupported("data_parallel_rank", "second rank");
  if (request.sampling_params().constraint_case() != vllm_api::SamplingParams::CONSTRAINT_NOT_SET) {
    return Unsupported("sampling_params.constraint", "structured output");
  }
  return absl::OkStatus();
}

void SetSampling(const vllm_api::SamplingParams& from, v1::Sampling* to) {
  if (from.has_temperature()) to->set_temperature(from.temperature());
  if (from.top_p() != 0) to->set_top_p(from.top_p());
  to->set_top_k(from.top_k());
  to->set_min_p(from.min_p());
  to->set_frequency_penalty(from.frequency_penalty());
  to->set_presence_penalty(from.presence_penalty());
  if (from.repetition_penalty() != 0) to->set_repetition_penalty(from.repetition_penalty());
  if (from.has_seed()) to->set_seed(static_cast<uint64_t>(from.seed()));
  for (const auto& [id, bias] : from.logit_bias()) {
    // A negative id becomes one that no vocabulary has.
    (*to->mutable_logit_bias())[static_cast<uint32_t>(id)] = bias;
  }
}

void SetStopping(const vllm_api::SamplingParams& from, v1::Stopping* to) {
  if (from.has_max_tokens()) to->set_max_tokens(from.max_tokens());
  to->set_min_tokens(from.min_tokens());
  *to->mutable_stop() = from.stop();
  *to->mutable_stop_token_ids() = from.stop_token_ids();
  to->set_ignore_eos(from.ignore_eos());
  to->set_include_stop(from.include_stop_str_in_output());
}

absl::Status SetOutput(const vllm_api::SamplingParams& from, v1::OutputOptions* to) {
  // vLLM's -1 asks for the whole vocabulary.
  if (from.logprobs() < 0) return FieldError("output.logprobs", "must not be negative");
  if (from.prompt_logprobs() < 0) {
    return FieldError("output.prompt_logprobs", "must not be negative");
  }
  if (from.has_logprobs()) to->set_logprobs(static_cast<uint32_t>(from.logprobs()));
  if (from.has_prompt_logprobs()) {
    to->set_prompt_logprobs(static_cast<uint32_t>(from.prompt_logprobs()));
  }
  to->set_text(from.stop_size() > 0);  // only stop strings need it: the client detokenizes
  to->set_skip_special_tokens(from.skip_special_tokens());
  return absl::OkStatus();
}

// How many of the last prompt tokens to keep.
absl::StatusOr<int> KeptTokens(const vllm_api::GenerateRequest& request, int32_t max_context) {
  const int count = request.tokenized().input_ids_size();
  if (!request.sampling_params().has_truncate_prompt_tokens()) return count;
  const int32_t limit = request.sampling_params().truncate_prompt_tokens();
  if (limit == 0 || limit < -1) {
    return FieldError("sampling.truncate_prompt_tokens", "must be positive, or -1");
  }
  if (!request.has_tokenized()) {
    return Unsupported("sampling.truncate_prompt_tokens", "truncation of text; send token ids");
  }
  return std::min(count, limit == -1 ? max_context : limit);
}

absl::Status SetPrompt(const vllm_api::GenerateRequest& from, int32_t max_context,
                       v1::GenerateRequest* to) {
  SPADE_ASSIGN_OR_RETURN(const int kept, KeptTokens(from, max_context));
  if (from.has_text()) {
    to->set_text(from.text());
    return absl::OkStatus();
  }
  const auto& ids = from.tokenized().input_ids();
  to->mutable_token_ids()->mutable_ids()->Add(ids.end() - kept, ids.end());
  return absl::OkStatus();
}

// Errors name fields of our own API.
absl::Status WithVllmNames(const absl::Status& status) {
  const std::string message(status.message());
  for (const std::string_view group : {"sampling.", "stopping.", "output."}) {
    if (message.rfind(group, 0) != 0) continue;
    return absl::Status(status.code(),
                        absl::StrCat("sampling_params.", message.substr(group.size())));
  }
  return status;
}

absl::StatusOr<v1::GenerateRequest> ToNative(const vllm_api::GenerateRequest& from,
                                             int32_t max_context) {
  SPADE_RETURN_IF_ERROR(CheckSupported(from));
  v1::GenerateRequest to;
  to.set_request_id(from.request_id());
  to.set_n(from.sampling_params().n());
  SetSampling(from.sampling_params(), to.mutable_sampling());
  SetStopping(from.sampling_params(), to.mutable_stopping());
  SPADE_RETURN_IF_ERROR(SetOutput(from.sampling_params(), to.mutable_output()));
  SPADE_RETURN_IF_ERROR(SetPrompt(from, max_context, &to));
  return to;
}

}  // namespace

absl::StatusOr<GenerateRequest> ConvertVllmRequest(const vllm_api::GenerateRequest& request,
                                                   const RequestConverter& converter,
                                                   int32_t max_context,
                                                   Admit<GenerateRequest> admit) {
  const auto native = ToNative(request, max_context);
  if (!native.ok()) return WithVllmNames(native.status());
  auto converted = converter.Convert(*native, admit);
  if (!converted.ok()) return WithVllmNames(converted.status());
  return converted;
}

}  // namespace spade
