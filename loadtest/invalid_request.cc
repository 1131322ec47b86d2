#include "loadtest/invalid_request.h"

#include <array>
#include <limits>

namespace spade::loadtest {
namespace {

using enum InvalidRequest;

constexpr std::array kForGenerate = {kGarbageBytes,  kNoPrompt,       kTokenOutOfRange,
                                     kPromptTooLong, kUnknownModel,   kNanTemperature,
                                     kHugeN,         kTopPOutOfRange, kHugeLogprobs};
constexpr std::array kForDecide = {
    kGarbageBytes, kNoPrompt,   kTokenOutOfRange, kPromptTooLong,      kUnknownModel,
    kNoLabels,     kEmptyLabel, kNanTemperature,  kMismatchOutOfRange, kPriorsOfWrongLength};

constexpr uint32_t kFarTooMany = 1 << 30;

// Field 3 with a length that runs past the end of the message.
std::string GarbageBytes() { return "\x1a\xff\xff\xff\x0f garbage"; }

template <typename Message>
void SpoilPrompt(InvalidRequest variant, const ModelFacts& model, Message& request) {
  request.clear_prompt();
  if (variant == kTokenOutOfRange) request.mutable_token_ids()->add_ids(model.vocab_size);
  if (variant == kPromptTooLong) {
    auto& ids = *request.mutable_token_ids()->mutable_ids();
    ids.Resize(static_cast<int>(2 * model.max_context), model.vocab_size - 1);
  }
}

}  // namespace

InvalidRequest ChooseInvalidRequest(Rng& rng, Kind kind) {
  return kind == Kind::kGenerate ? kForGenerate[rng.Below(kForGenerate.size())]
                                 : kForDecide[rng.Below(kForDecide.size())];
}

std::string MakeInvalidPayload(InvalidRequest variant, const ModelFacts& model,
                               v1::GenerateRequest& request) {
  v1::Sampling& sampling = *request.mutable_sampling();
  switch (variant) {
    case kGarbageBytes:
      return GarbageBytes();
    case kUnknownModel:
      request.set_model("no-such-model");
      break;
    case kNanTemperature:
      sampling.set_temperature(std::numeric_limits<float>::quiet_NaN());
      break;
    case kTopPOutOfRange:
      sampling.set_top_p(1.5);
      break;
    case kHugeN:
      request.set_n(kFarTooMany);
      break;
    case kHugeLogprobs:
      request.mutable_output()->set_logprobs(kFarTooMany);
      break;
    default:
      SpoilPrompt(variant, model, request);
  }
  return request.SerializeAsString();
}

std::string MakeInvalidPayload(InvalidRequest variant, const ModelFacts& model,
                               v1::DecideRequest& request) {
  switch (variant) {
    case kGarbageBytes:
      return GarbageBytes();
    case kUnknownModel:
      request.set_model("no-such-model");
      break;
    case kNoLabels:
      request.clear_labels();
      break;
    case kEmptyLabel:
      request.add_labels("");
      break;
    case kNanTemperature:
      request.set_temperature(std::numeric_limits<float>::quiet_NaN());
      break;
    case kMismatchOutOfRange:
      request.set_mode(v1::MODE_FAST);
      request.set_max_mismatch(1.5);
      break;
    case kPriorsOfWrongLength:
      request.add_label_priors(1);
      break;
    default:
      SpoilPrompt(variant, model, request);
  }
  return request.SerializeAsString();
}

}  // namespace spade::loadtest
