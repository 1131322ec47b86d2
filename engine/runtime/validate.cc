#include "engine/runtime/validate.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/reason.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

absl::Status Invalid(absl::string_view message) { return absl::InvalidArgumentError(message); }

absl::Status CheckIds(absl::string_view field, std::span<const TokenId> ids, int32_t vocab_size) {
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_size) {
      return Invalid(
          absl::StrCat(field, ": token id ", id, " is outside the vocabulary of ", vocab_size));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckContext(const RequestContext& context, int32_t min_output,
                          const RequestLimits& limits) {
  if (context.prompt.empty()) return Invalid("prompt: is empty; it needs at least one token");
  const int64_t longest = int64_t{limits.max_context} - min_output;
  if (static_cast<int64_t>(context.prompt.size()) > longest) {
    return Invalid(absl::StrCat("prompt: ", context.prompt.size(), " tokens, but at most ", longest,
                                " fit the context of ", limits.max_context));
  }
  SPADE_RETURN_IF_ERROR(CheckIds("prompt", context.prompt, limits.vocab_size));
  if (context.deadline && *context.deadline <= Clock::now()) {
    return WithReason(
        absl::DeadlineExceededError("the deadline passed before the request was accepted"),
        Reason::kDeadlineWaits);
  }
  return absl::OkStatus();
}

absl::Status CheckLengths(const GenerateRequest& request, const RequestLimits& limits) {
  const int32_t room = limits.max_context - static_cast<int32_t>(request.context.prompt.size());
  if (request.max_tokens && *request.max_tokens < 1) {
    return Invalid("max_tokens: must be at least 1");
  }
  if (request.max_tokens && *request.max_tokens > room) {
    return Invalid(absl::StrCat("max_tokens: ", *request.max_tokens, ", but at most ", room,
                                " fit after the prompt in the context of ", limits.max_context));
  }
  const int32_t max_tokens = request.max_tokens.value_or(room);
  if (request.min_tokens < 0 || request.min_tokens > max_tokens) {
    return Invalid(absl::StrCat("min_tokens: must be in [0, ", max_tokens, "], max_tokens"));
  }
  if (request.num_sequences < 1 || request.num_sequences > kMaxSequences) {
    return Invalid(absl::StrCat("n: must be in [1, ", kMaxSequences, "]"));
  }
  return absl::OkStatus();
}

absl::Status CheckStops(const GenerateRequest& request, const RequestLimits& limits) {
  if (request.stop.size() > kMaxStopStrings) {
    return Invalid(absl::StrCat("stop: at most ", kMaxStopStrings, " strings"));
  }
  for (const std::string& stop : request.stop) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return Invalid(absl::StrCat("stop: each string must have 1 to ", kMaxStopBytes, " bytes"));
    }
  }
  if (!request.stop.empty() && !request.detokenize) {
    return Invalid("stop: stop strings need text output");
  }
  if (request.stop_token_ids.size() > kMaxStopTokens) {
    return Invalid(absl::StrCat("stop_token_ids: at most ", kMaxStopTokens, " ids"));
  }
  return CheckIds("stop_token_ids", request.stop_token_ids, limits.vocab_size);
}

absl::Status CheckLogprobs(absl::string_view field, std::optional<int32_t> count,
                           const RequestLimits& limits) {
  const int32_t most = std::min(kMaxLogprobs, limits.vocab_size);
  if (count && (*count < 0 || *count > most)) {
    return Invalid(absl::StrCat(field, ": must be in [0, ", most, "]"));
  }
  return absl::OkStatus();
}

absl::Status CheckMismatch(double max_mismatch) {
  if (max_mismatch > 0 && max_mismatch < 1) return absl::OkStatus();
  return Invalid("max_mismatch: must be in (0, 1) where an early exit is asked for");
}

absl::Status CheckCount(size_t num_labels, size_t most) {
  if (num_labels >= 2 && num_labels <= most) return absl::OkStatus();
  return Invalid(absl::StrCat("labels: 2 to ", most, " labels are needed"));
}

template <typename Value>
bool HasRepeats(std::vector<Value> values) {
  std::ranges::sort(values);
  return std::ranges::adjacent_find(values) != values.end();
}

absl::Status CheckSequences(const DecideRequest& request, const RequestLimits& limits) {
  const auto& sequences = request.label_sequences;
  if (request.mode != ExitMode::kExact) {
    return Invalid("labels: those of several tokens are scored in mode EXACT only");
  }
  SPADE_RETURN_IF_ERROR(CheckCount(sequences.size(), kMaxLabelSequences));
  const auto room = static_cast<size_t>(limits.max_context) - request.context.prompt.size();
  for (const std::vector<TokenId>& label : sequences) {
    if (label.empty()) return Invalid("labels: a label has no token");
    if (label.size() > room) {
      return Invalid(absl::StrCat("labels: one of ", label.size(), " tokens, but at most ", room,
                                  " fit after the prompt"));
    }
    SPADE_RETURN_IF_ERROR(CheckIds("labels", label, limits.vocab_size));
  }
  if (HasRepeats(sequences)) return Invalid("labels: two labels are the same tokens");
  return absl::OkStatus();
}

absl::Status CheckTokens(const DecideRequest& request, const RequestLimits& limits) {
  SPADE_RETURN_IF_ERROR(CheckCount(request.labels.size(), kMaxLabels));
  SPADE_RETURN_IF_ERROR(CheckIds("labels", request.labels, limits.vocab_size));
  if (HasRepeats(request.labels)) return Invalid("labels: two labels are the same token");
  return absl::OkStatus();
}

absl::Status CheckLabels(const DecideRequest& request, const RequestLimits& limits) {
  SPADE_RETURN_IF_ERROR(request.label_sequences.empty() ? CheckTokens(request, limits)
                                                        : CheckSequences(request, limits));
  if (!request.label_bias.empty() && request.label_bias.size() != NumLabels(request)) {
    return Invalid("label_bias: needs one value per label, or none");
  }
  for (const float bias : request.label_bias) {
    if (!std::isfinite(bias)) return Invalid("label_bias: must be finite");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const GenerateRequest& request, const RequestLimits& limits) {
  SPADE_RETURN_IF_ERROR(CheckContext(request.context, /*min_output=*/1, limits));
  SPADE_RETURN_IF_ERROR(CheckLengths(request, limits));
  SPADE_RETURN_IF_ERROR(CheckStops(request, limits));
  SPADE_RETURN_IF_ERROR(CheckLogprobs("logprobs", request.sampling.num_logprobs, limits));
  SPADE_RETURN_IF_ERROR(Validate(request.sampling, limits.vocab_size));
  SPADE_RETURN_IF_ERROR(CheckLogprobs("prompt_logprobs", request.prompt_logprobs, limits));
  if (request.mode != ExitMode::kFast) return absl::OkStatus();
  return CheckMismatch(request.max_mismatch);
}

absl::Status Validate(const DecideRequest& request, const RequestLimits& limits) {
  SPADE_RETURN_IF_ERROR(CheckContext(request.context, /*min_output=*/0, limits));
  SPADE_RETURN_IF_ERROR(CheckLabels(request, limits));
  if (!std::isfinite(request.temperature) || request.temperature <= 0) {
    return Invalid("temperature: must be positive and finite");
  }
  return request.mode == ExitMode::kExact ? absl::OkStatus() : CheckMismatch(request.max_mismatch);
}

}  // namespace spade
