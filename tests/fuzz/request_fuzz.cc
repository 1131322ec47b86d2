#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/mapped_file.h"
#include "engine/base/utf8.h"
#include "engine/runtime/validate.h"
#include "kernels/check.h"
#include "server/request_convert.h"

namespace spade {
namespace {

std::unique_ptr<Tokenizer> BundledTokenizer() {
  const auto json =
      ReadTextFile(std::string(SPADE_SOURCE_DIR) + "/models/tickets-5m/tokenizer.json", 1 << 24);
  SPADE_CHECK(json.ok());
  return *Tokenizer::Parse(*json);
}

ModelInfo Info() {
  ModelInfo info;
  info.config.vocab_size = 4096;
  info.config.num_layers = 12;
  info.max_context = 256;
  return info;
}

// A converter over the bundled tokenizer; no engine behind it.
struct Target {
  Target() { std::iota(logits.begin(), logits.end(), -2000.0f); }

  const std::unique_ptr<Tokenizer> tokenizer = BundledTokenizer();
  const ModelInfo info = Info();
  RandomSource random;
  const RequestConverter converter{tokenizer.get(), &info, "fuzz", &random};
  std::vector<float> logits = std::vector<float>(static_cast<size_t>(info.config.vocab_size));
  SamplerScratch scratch;
};

// What converts and validates must be safe to run: every draw is a token.
void CheckGenerate(Target& target, const v1::GenerateRequest& proto) {
  const auto request = target.converter.Convert(proto);
  if (!request.ok()) return SPADE_CHECK(!request.status().message().empty());
  if (!Validate(*request, {target.info.config.vocab_size, target.info.max_context}).ok()) return;
  const TokenHistory history(request->context.prompt);
  const SampledToken token = Sample(target.logits, request->sampling, history, {},
                                    /*sequence_index=*/0, /*position=*/1, target.scratch);
  SPADE_CHECK(token.id >= 0 && token.id < target.info.config.vocab_size);
}

void CheckDecide(Target& target, const v1::DecideRequest& proto) {
  const auto request = target.converter.Convert(proto);
  if (!request.ok()) return SPADE_CHECK(!request.status().message().empty());
  SPADE_CHECK(Validate(*request, {target.info.config.vocab_size, target.info.max_context}).ok());
}

void CheckTokenize(Target& target, const v1::TokenizeRequest& proto) {
  const auto ids = target.converter.Convert(proto);
  if (!ids.ok()) return SPADE_CHECK(!ids.status().message().empty());
  for (const TokenId id : *ids) SPADE_CHECK(id >= 0 && id < target.info.config.vocab_size);
}

void CheckDetokenize(Target& target, const v1::DetokenizeRequest& proto) {
  const auto ids = target.converter.Convert(proto);
  if (!ids.ok()) return SPADE_CHECK(!ids.status().message().empty());
  SPADE_CHECK(!FindInvalidUtf8(target.tokenizer->Decode(*ids, /*skip_special_tokens=*/true)));
}

template <typename Proto>
void Check(std::string_view wire, void (*check)(Target&, const Proto&)) {
  static Target& target = *new Target();
  Proto proto;
  if (proto.ParseFromArray(wire.data(), static_cast<int>(wire.size()))) check(target, proto);
}

}  // namespace
}  // namespace spade

// Input: one byte that chooses the message's type, then its wire format.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      spade::Check(wire, &spade::CheckGenerate);
      break;
    case 1:
      spade::Check(wire, &spade::CheckDecide);
      break;
    case 2:
      spade::Check(wire, &spade::CheckTokenize);
      break;
    default:
      spade::Check(wire, &spade::CheckDetokenize);
  }
  return 0;
}
