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
#include "server/infer/infer_task.h"
#include "server/request_convert.h"
#include "server/vllm/generate_convert.h"

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

// Has a tokenizer, and refuses work.
class IdleEngine final : public InferenceEngine {
 public:
  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  absl::StatusOr<RequestHandle> Generate(GenerateRequest, std::shared_ptr<GenerateSink>) override {
    return absl::UnavailableError("");
  }
  absl::StatusOr<RequestHandle> Decide(DecideRequest, std::shared_ptr<DecideSink>) override {
    return absl::UnavailableError("");
  }
  absl::Status CheckQueue(const GenerateRequest&) override { return absl::OkStatus(); }
  absl::Status CheckQueue(const DecideRequest&) override { return absl::OkStatus(); }
  void Cancel(RequestHandle) override {}
  void StopAccepting() override {}
  int Drain(std::chrono::milliseconds) override { return 0; }
  std::vector<RequestRecord> RecentRequests(size_t) const override { return {}; }
  EngineStats Stats() const override { return {}; }

 private:
  const std::unique_ptr<Tokenizer> tokenizer_ = BundledTokenizer();
  const ModelInfo info_ = Info();
};

// The served model's converter over the bundled tokenizer.
struct Target {
  Target() { std::iota(logits.begin(), logits.end(), -2000.0f); }

  IdleEngine engine;
  const Tokenizer* const tokenizer = &engine.tokenizer();
  const ModelInfo& info = engine.info();
  RandomSource random;
  const ServedModel model{&engine, "fuzz", &random};
  const RequestConverter& converter = model.converter;
  std::vector<float> logits = std::vector<float>(static_cast<size_t>(info.config.vocab_size));
  SamplerScratch scratch;
};

// What converts and validates must be safe to run: every draw is a token.
void CheckConverted(Target& target, const absl::StatusOr<GenerateRequest>& request) {
  if (!request.ok()) return SPADE_CHECK(!request.status().message().empty());
  if (!Validate(*request, {target.info.config.vocab_size, target.info.max_context}).ok()) return;
  const TokenHistory history(request->context.prompt);
  const SampledToken token = Sample(target.logits, request->sampling, history, {},
                                    /*sequence_index=*/0, /*position=*/1, target.scratch);
  SPADE_CHECK(token.id >= 0 && token.id < target.info.config.vocab_size);
}

void CheckConverted(Target& target, const absl::StatusOr<DecideRequest>& request) {
  if (!request.ok()) return SPADE_CHECK(!request.status().message().empty());
  SPADE_CHECK(Validate(*request, {target.info.config.vocab_size, target.info.max_context}).ok());
}

void CheckGenerate(Target& target, const v1::GenerateRequest& proto) {
  CheckConverted(target, target.converter.Convert(proto));
}

void CheckDecide(Target& target, const v1::DecideRequest& proto) {
  CheckConverted(target, target.converter.Convert(proto));
}

void CheckVllm(Target& target, const vllm_api::GenerateRequest& proto) {
  CheckConverted(target, ConvertVllmRequest(proto, target.converter, target.info.max_context));
}

void CheckInfer(Target& target, const ::inference::ModelInferRequest& proto) {
  auto task = PrepareInference(target.model, proto, /*streaming=*/true, std::nullopt);
  if (!task.ok()) return SPADE_CHECK(!task.status().message().empty());
  SPADE_CHECK(task->output->empty());
  std::visit(
      [&](auto& request) {
        CheckConverted(target, absl::StatusOr<std::decay_t<decltype(request)>>(std::move(request)));
      },
      task->request);
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
  switch (data[0] % 6) {
    case 0:
      spade::Check(wire, &spade::CheckGenerate);
      break;
    case 1:
      spade::Check(wire, &spade::CheckDecide);
      break;
    case 2:
      spade::Check(wire, &spade::CheckTokenize);
      break;
    case 3:
      spade::Check(wire, &spade::CheckDetokenize);
      break;
    case 4:
      spade::Check(wire, &spade::CheckVllm);
      break;
    default:
      spade::Check(wire, &spade::CheckInfer);
  }
  return 0;
}
