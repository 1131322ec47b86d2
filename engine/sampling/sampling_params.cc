#include "engine/sampling/sampling_params.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

// NaN fails every comparison, and so each of these.
absl::Status InRange(const char* field, float value, float low, float high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be between ", low, " and ", high, ", not ", value));
}

absl::Status Positive(const char* field, float value, float high) {
  if (value > 0.0f && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be above 0 and at most ", high, ", not ", value));
}

absl::Status InVocabulary(const char* field, TokenId id, int32_t vocab_size) {
  if (id >= 0 && id < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      field, " has token id ", id, ", outside the vocabulary of ", vocab_size, " tokens"));
}

absl::Status ValidateIds(const SamplingParams& params, int32_t vocab_size) {
  for (const auto& [id, bias] : params.logit_bias) {
    SPADE_RETURN_IF_ERROR(InVocabulary("logit_bias", id, vocab_size));
    SPADE_RETURN_IF_ERROR(InRange("logit_bias", bias, -kMaxLogitBias, kMaxLogitBias));
  }
  for (const TokenId id : params.allowed_token_ids) {
    SPADE_RETURN_IF_ERROR(InVocabulary("allowed_token_ids", id, vocab_size));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const SamplingParams& params, int32_t vocab_size) {
  SPADE_RETURN_IF_ERROR(InRange("temperature", params.temperature, 0.0f, kMaxTemperature));
  if (params.top_k < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("top_k must be 0 (off) or more, not ", params.top_k));
  }
  SPADE_RETURN_IF_ERROR(Positive("top_p", params.top_p, 1.0f));
  SPADE_RETURN_IF_ERROR(InRange("min_p", params.min_p, 0.0f, 1.0f));
  SPADE_RETURN_IF_ERROR(
      Positive("repetition_penalty", params.repetition_penalty, kMaxRepetitionPenalty));
  SPADE_RETURN_IF_ERROR(
      InRange("presence_penalty", params.presence_penalty, -kMaxPenalty, kMaxPenalty));
  SPADE_RETURN_IF_ERROR(
      InRange("frequency_penalty", params.frequency_penalty, -kMaxPenalty, kMaxPenalty));
  if (params.num_logprobs.has_value() &&
      (*params.num_logprobs < 0 || *params.num_logprobs > kMaxLogprobs)) {
    return absl::InvalidArgumentError(absl::StrCat("num_logprobs must be between 0 and ",
                                                   kMaxLogprobs, ", not ", *params.num_logprobs));
  }
  return ValidateIds(params, vocab_size);
}

}  // namespace spade
