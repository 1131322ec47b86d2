#include "server/request_convert.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/runtime/validate.h"
#include "server/field_check.h"
#include "server/label_tokens.h"

namespace spade {
namespace {

constexpr int32_t kMaxInt32 = std::numeric_limits<int32_t>::max();
constexpr float kMaxFloat = std::numeric_limits<float>::max();

// Bounds on what one request may make the server hold or scan, generous beside real use.
constexpr size_t kLoggedIdBytes = 128;
constexpr size_t kMaxCacheSaltBytes = 256;
constexpr size_t kMinPromptByteLimit = 64u << 10;
constexpr size_t kPromptBytesPerToken = 32;  // of the context; text is about 4
constexpr int kMaxLogitBiases = 4096;
constexpr double kMaxQueueSeconds = 1e6;

absl::StatusOr<std::vector<TokenId>> CheckedTokenIds(
    const std::string& field, const google::protobuf::RepeatedField<uint32_t>& ids,
    int32_t vocab_size) {
  std::vector<TokenId> checked;
  checked.reserve(ids.size());
  for (const uint32_t id : ids) {
    SPADE_ASSIGN_OR_RETURN(const TokenId token, CheckedTokenId(field, id, vocab_size));
    checked.push_back(token);
  }
  return checked;
}

absl::Status SetPenalties(const v1::Sampling& from, SamplingParams& to) {
  to.repetition_penalty = from.has_repetition_penalty() ? from.repetition_penalty() : 1.0f;
  to.presence_penalty = from.presence_penalty();
  to.frequency_penalty = from.frequency_penalty();
  SPADE_RETURN_IF_ERROR(
      CheckRange("sampling.repetition_penalty", to.repetition_penalty, 0.01, 100));
  SPADE_RETURN_IF_ERROR(CheckRange("sampling.presence_penalty", to.presence_penalty, -2, 2));
  return CheckRange("sampling.frequency_penalty", to.frequency_penalty, -2, 2);
}

absl::Status SetTokenRules(const v1::Sampling& from, int32_t vocab_size, SamplingParams& to) {
  SPADE_RETURN_IF_ERROR(CheckCount("sampling.logit_bias", from.logit_bias_size(), kMaxLogitBiases));
  for (const auto& [id, bias] : from.logit_bias()) {
    SPADE_ASSIGN_OR_RETURN(const TokenId token,
                           CheckedTokenId("sampling.logit_bias", id, vocab_size));
    SPADE_RETURN_IF_ERROR(CheckRange("sampling.logit_bias", bias, -100, 100));
    to.logit_bias.emplace_back(token, bias);
  }
  std::sort(to.logit_bias.begin(), to.logit_bias.end());  // a map's order is random
  SPADE_RETURN_IF_ERROR(
      CheckCount("sampling.allowed_token_ids", from.allowed_token_ids_size(), vocab_size));
  SPADE_ASSIGN_OR_RETURN(
      to.allowed_token_ids,
      CheckedTokenIds("sampling.allowed_token_ids", from.allowed_token_ids(), vocab_size));
  return absl::OkStatus();
}

absl::StatusOr<SamplingParams> ConvertSampling(const v1::Sampling& from, int32_t vocab_size,
                                               RandomSource* random) {
  SamplingParams to;
  to.temperature = from.has_temperature() ? from.temperature() : 1.0f;
  SPADE_RETURN_IF_ERROR(CheckRange("sampling.temperature", to.temperature, 0, 100));
  SPADE_ASSIGN_OR_RETURN(to.top_k, CheckedInt32("sampling.top_k", from.top_k(), 0, kMaxInt32));
  to.top_p = from.has_top_p() ? from.top_p() : 1.0f;
  if (!(to.top_p > 0 && to.top_p <= 1)) {
    return FieldError("sampling.top_p", absl::StrCat("must be in (0, 1], not ", to.top_p));
  }
  to.min_p = from.min_p();
  SPADE_RETURN_IF_ERROR(CheckRange("sampling.min_p", to.min_p, 0, 1));
  SPADE_RETURN_IF_ERROR(SetPenalties(from, to));
  SPADE_RETURN_IF_ERROR(SetTokenRules(from, vocab_size, to));
  to.seed = from.has_seed() ? from.seed() : random->Next();
  return to;
}

absl::Status SetStopping(const v1::Stopping& from, int32_t vocab_size, GenerateRequest& to) {
  if (from.has_max_tokens()) {
    SPADE_ASSIGN_OR_RETURN(to.max_tokens,
                           CheckedInt32("stopping.max_tokens", from.max_tokens(), 1, kMaxInt32));
  }
  SPADE_ASSIGN_OR_RETURN(to.min_tokens, CheckedInt32("stopping.min_tokens", from.min_tokens(), 0,
                                                     to.max_tokens.value_or(kMaxInt32)));
  SPADE_RETURN_IF_ERROR(CheckCount("stopping.stop", from.stop_size(), kMaxStopStrings));
  for (const std::string& stop : from.stop()) {
    if (stop.empty() || stop.size() > kMaxStopBytes) {
      return FieldError("stopping.stop",
                        absl::StrCat("each must be 1 to ", kMaxStopBytes, " bytes"));
    }
    to.stop.push_back(stop);
  }
  SPADE_RETURN_IF_ERROR(
      CheckCount("stopping.stop_token_ids", from.stop_token_ids_size(), kMaxStopTokens));
  SPADE_ASSIGN_OR_RETURN(to.stop_token_ids, CheckedTokenIds("stopping.stop_token_ids",
                                                            from.stop_token_ids(), vocab_size));
  to.ignore_eos = from.ignore_eos();
  to.include_stop = from.include_stop();
  return absl::OkStatus();
}

absl::Status SetOutput(const v1::OutputOptions& from, GenerateRequest& to) {
  if (from.has_logprobs()) {
    SPADE_ASSIGN_OR_RETURN(to.sampling.num_logprobs,
                           CheckedInt32("output.logprobs", from.logprobs(), 0, kMaxLogprobs));
  }
  if (from.has_prompt_logprobs()) {
    SPADE_ASSIGN_OR_RETURN(
        to.prompt_logprobs,
        CheckedInt32("output.prompt_logprobs", from.prompt_logprobs(), 0, kMaxLogprobs));
  }
  to.detokenize = !from.has_text() || from.text();
  to.skip_special_tokens = !from.has_skip_special_tokens() || from.skip_special_tokens();
  if (!to.detokenize && !to.stop.empty()) {
    return FieldError("output.text", "stop strings need it; use stopping.stop_token_ids");
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitMode> CheckedMode(v1::Mode mode) {
  switch (mode) {
    case v1::MODE_UNSPECIFIED:
    case v1::MODE_EXACT:
      return ExitMode::kExact;
    case v1::MODE_VERIFIED:
      return ExitMode::kVerified;
    case v1::MODE_FAST:
      return ExitMode::kFast;
    default:
      return FieldError("mode", absl::StrCat("unknown value ", static_cast<int>(mode)));
  }
}

// A bound where none is used is refused: silence would let a client believe in a guarantee.
absl::StatusOr<double> CheckedMismatch(double max_mismatch, bool is_used, absl::string_view modes) {
  if (!is_used && max_mismatch == 0) return 0;
  if (!is_used) return FieldError("max_mismatch", absl::StrCat("has a meaning in ", modes));
  if (max_mismatch > 0 && max_mismatch < 1) return max_mismatch;
  return FieldError("max_mismatch", absl::StrCat("must be in (0, 1), not ", max_mismatch));
}

absl::StatusOr<std::vector<float>> ConvertPriors(const v1::DecideRequest& request) {
  std::vector<float> bias;
  if (request.label_priors_size() == 0) return bias;
  if (request.label_priors_size() != request.labels_size()) {
    return FieldError("label_priors",
                      absl::StrCat("one for each of the ", request.labels_size(),
                                   " labels, or none; not ", request.label_priors_size()));
  }
  for (const float prior : request.label_priors()) {
    if (!(prior > 0 && prior <= kMaxFloat)) {
      return FieldError("label_priors", absl::StrCat("must be positive, not ", prior));
    }
    bias.push_back(std::log(prior));
  }
  return bias;
}

// Where one label has several tokens, all are scored as sequences.
absl::Status SetLabels(std::vector<std::vector<TokenId>> labels, DecideRequest& to) {
  const auto longer = std::ranges::find_if(labels, [](const auto& ids) { return ids.size() > 1; });
  if (longer == labels.end()) {
    for (const std::vector<TokenId>& label : labels) to.labels.push_back(label[0]);
    return absl::OkStatus();
  }
  if (to.mode != ExitMode::kExact) {
    return FieldError(absl::StrCat("labels[", longer - labels.begin(), "]"),
                      absl::StrCat("has ", longer->size(),
                                   " tokens after this prompt; such are scored in mode EXACT only, "
                                   "early exits need labels of one token"));
  }
  SPADE_RETURN_IF_ERROR(CheckCount("labels of several tokens", labels.size(), kMaxLabelSequences));
  to.label_sequences = std::move(labels);
  return absl::OkStatus();
}

}  // namespace

std::string SanitizedId(std::string_view id) {
  std::string clean(id.substr(0, kLoggedIdBytes));
  for (char& c : clean) {
    if (c <= ' ' || c > '~') c = '_';
  }
  return clean;
}

RequestConverter::RequestConverter(const Tokenizer* tokenizer, const ModelInfo* model,
                                   std::string model_name, RandomSource* random)
    : tokenizer_(tokenizer), model_(model), model_name_(std::move(model_name)), random_(random) {}

absl::Status RequestConverter::CheckText(const std::string& field, const std::string& text) const {
  const size_t limit = std::max(kMinPromptByteLimit, kPromptBytesPerToken * model_->max_context);
  if (text.size() <= limit) return absl::OkStatus();
  return FieldError(field, absl::StrCat(text.size(), " bytes; at most ", limit,
                                        " for a context of ", model_->max_context));
}

template <typename Request>
absl::StatusOr<RequestContext> RequestConverter::Context(const Request& request) const {
  RequestContext context;
  if (request.request_id().size() > kMaxRequestIdBytes) {
    return FieldError("request_id", absl::StrCat("at most ", kMaxRequestIdBytes, " bytes"));
  }
  context.id = request.request_id().empty() ? random_->NextId() : SanitizedId(request.request_id());
  if (!request.model().empty() && request.model() != model_name_) {
    return absl::NotFoundError(absl::StrCat("model: this server serves \"", model_name_, "\""));
  }
  if (request.cache_salt().size() > kMaxCacheSaltBytes) {
    return FieldError("cache_salt", absl::StrCat("at most ", kMaxCacheSaltBytes, " bytes"));
  }
  context.cache_salt = request.cache_salt();
  context.priority = request.priority();
  SPADE_RETURN_IF_ERROR(
      CheckRange("max_queue_seconds", request.max_queue_seconds(), 0, kMaxQueueSeconds));
  if (request.max_queue_seconds() > 0) {
    context.max_queue_time = std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(request.max_queue_seconds()));
  }
  return context;
}

template <typename Request>
absl::StatusOr<std::vector<TokenId>> RequestConverter::Prompt(const Request& request) const {
  std::vector<TokenId> prompt;
  const bool add_special = !request.has_add_special_tokens() || request.add_special_tokens();
  std::string field = "text";
  if (request.has_text()) {
    SPADE_RETURN_IF_ERROR(CheckText(field, request.text()));
    auto ids = tokenizer_->Encode(request.text(), add_special);
    if (!ids.ok()) return FieldError(field, std::string(ids.status().message()));
    prompt = *std::move(ids);
  } else {
    field = "token_ids";
    SPADE_RETURN_IF_ERROR(CheckCount(field, request.token_ids().ids_size(), model_->max_context));
    SPADE_ASSIGN_OR_RETURN(
        prompt, CheckedTokenIds(field, request.token_ids().ids(), model_->config.vocab_size));
  }
  if (prompt.empty()) return FieldError("prompt", "text or token_ids must not be empty");
  SPADE_RETURN_IF_ERROR(CheckCount(field, prompt.size(), model_->max_context));
  return prompt;
}

absl::StatusOr<GenerateRequest> RequestConverter::Convert(const v1::GenerateRequest& from,
                                                          Admit<GenerateRequest> admit) const {
  const int32_t vocab_size = model_->config.vocab_size;
  GenerateRequest to;
  SPADE_ASSIGN_OR_RETURN(to.num_sequences, CheckedInt32("n", from.n(), 0, kMaxSequences));
  to.num_sequences = std::max(to.num_sequences, 1);
  SPADE_ASSIGN_OR_RETURN(to.sampling, ConvertSampling(from.sampling(), vocab_size, random_));
  SPADE_RETURN_IF_ERROR(SetStopping(from.stopping(), vocab_size, to));
  SPADE_RETURN_IF_ERROR(SetOutput(from.output(), to));
  SPADE_ASSIGN_OR_RETURN(to.mode, CheckedMode(from.mode()));
  SPADE_ASSIGN_OR_RETURN(
      to.max_mismatch,
      CheckedMismatch(from.max_mismatch(), to.mode == ExitMode::kFast, "mode FAST only"));
  SPADE_ASSIGN_OR_RETURN(to.context, Context(from));
  SPADE_RETURN_IF_ERROR(admit(to));
  SPADE_ASSIGN_OR_RETURN(to.context.prompt, Prompt(from));
  return to;
}

absl::StatusOr<DecideRequest> RequestConverter::Convert(const v1::DecideRequest& from,
                                                        Admit<DecideRequest> admit) const {
  DecideRequest to;
  SPADE_ASSIGN_OR_RETURN(to.mode, CheckedMode(from.mode()));
  SPADE_ASSIGN_OR_RETURN(to.max_mismatch,
                         CheckedMismatch(from.max_mismatch(), to.mode != ExitMode::kExact,
                                         "modes VERIFIED and FAST only"));
  to.temperature = from.has_temperature() ? from.temperature() : 1.0f;
  SPADE_RETURN_IF_ERROR(CheckRange("temperature", to.temperature, 0.01, 100));
  SPADE_RETURN_IF_ERROR(CheckCount("labels", from.labels_size(), kMaxLabels));
  SPADE_ASSIGN_OR_RETURN(to.label_bias, ConvertPriors(from));
  SPADE_ASSIGN_OR_RETURN(to.context, Context(from));
  SPADE_RETURN_IF_ERROR(admit(to));
  SPADE_ASSIGN_OR_RETURN(to.context.prompt, Prompt(from));
  const LabelledPrompt prompt{from.has_text() ? &from.text() : nullptr, &to.context.prompt,
                              !from.has_add_special_tokens() || from.add_special_tokens()};
  SPADE_ASSIGN_OR_RETURN(
      std::vector<std::vector<TokenId>> labels,
      LabelTokens(*tokenizer_, {from.labels().begin(), from.labels().end()}, prompt));
  SPADE_RETURN_IF_ERROR(SetLabels(std::move(labels), to));
  return to;
}

absl::StatusOr<std::vector<TokenId>> RequestConverter::Convert(
    const v1::TokenizeRequest& from) const {
  SPADE_RETURN_IF_ERROR(CheckText("text", from.text()));
  auto ids =
      tokenizer_->Encode(from.text(), !from.has_add_special_tokens() || from.add_special_tokens());
  if (!ids.ok()) return FieldError("text", std::string(ids.status().message()));
  return ids;
}

absl::StatusOr<std::vector<TokenId>> RequestConverter::Convert(
    const v1::DetokenizeRequest& from) const {
  SPADE_RETURN_IF_ERROR(CheckCount("token_ids", from.token_ids_size(),
                                   std::max<size_t>(kMinPromptByteLimit, model_->max_context)));
  return CheckedTokenIds("token_ids", from.token_ids(), model_->config.vocab_size);
}

}  // namespace spade
