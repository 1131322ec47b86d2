// A model that overflows at one token, whose weights are finite: what meets it is told so, and
// nothing else is.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <span>

#include "engine/base/mapped_file.h"
#include "engine/base/reason.h"
#include "engine/base/safetensors.h"
#include "engine/model/checkpoint.h"
#include "tests/runtime/exit_fixture.h"

namespace spade::testing {
namespace {

constexpr TokenId kPoison = 2048;
constexpr int64_t kChannel = 5;      // zero in every row but those of the poison
constexpr int32_t kBurstLayer = 10;  // behind both exits; where the channel makes an infinity

// A safetensors file whose matrices are of bf16.
class PatchedFile {
 public:
  explicit PatchedFile(const std::string& path)
      : bytes_(*ReadTextFile(path, /*max_bytes=*/64 << 20)),
        file_(*ParseSafeTensors(std::as_bytes(std::span(bytes_)))) {}

  const std::string& bytes() const { return bytes_; }
  int64_t rows(const std::string& name) const { return file_.tensors.at(name).shape[0]; }
  void Set(const std::string& name, int64_t row, int64_t col, float value) {
    const SafeTensor& tensor = file_.tensors.at(name);
    const auto begin = reinterpret_cast<const char*>(tensor.data.data()) - bytes_.data();
    const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
    const int64_t place = begin + (row * tensor.shape[1] + col) * int64_t{sizeof(bits)};
    std::memcpy(&bytes_[static_cast<size_t>(place)], &bits, sizeof(bits));
  }
  void ClearRow(const std::string& name, int64_t row) {
    for (int64_t col = 0; col < file_.tensors.at(name).shape[1]; ++col) Set(name, row, col, 0);
  }

 private:
  std::string bytes_;
  SafeTensorsFile file_;  // into bytes_
};

void Poison(const std::string& path) {
  PatchedFile file(path);
  const std::string embedding = "model.embed_tokens.weight";
  for (int64_t id = 0; id < file.rows(embedding); ++id) {
    file.Set(embedding, id, kChannel, id == kPoison ? 1.0f : 0.0f);
  }
  const auto weight = [](int layer, const std::string& name) {
    return "model.layers." + std::to_string(layer) + "." + name + ".weight";
  };
  for (int layer = 0; layer < 12; ++layer) {
    file.ClearRow(weight(layer, "self_attn.o_proj"), kChannel);
    file.ClearRow(weight(layer, "mlp.down_proj"), kChannel);
  }
  for (const char* name : {"mlp.gate_proj", "mlp.up_proj"}) {
    file.ClearRow(weight(kBurstLayer, name), 0);
    file.Set(weight(kBurstLayer, name), 0, kChannel, 1e30f);
  }
  WriteFileOrDie(path, file.bytes());
}

// With few blocks, so that those of the poisoned requests are used again.
class NotFiniteTest : public ::testing::Test {
 protected:
  NotFiniteTest() {
    EngineOptions options = UncheckedOptions(/*kv_blocks=*/12);
    options.model_directory = dir_.File("model");
    std::filesystem::copy(TicketsModel(), options.model_directory);
    Poison(options.model_directory + "/model.safetensors");
    options.calibrations = {dir_.File("hand.safetensors")};
    Calibration calibration = HandMadeCalibration(SpadePosition::kReset);
    calibration.model_sha256 = Checkpoint::Open(options.model_directory)->Sha256();
    calibration.certificates[1].thresholds = {2, 2};  // nats: all leave at the first exit
    EXPECT_TRUE(SaveCalibration(calibration, options.calibrations[0]).ok());
    engine_ = MakeEngine(options);
  }

  std::shared_ptr<Collector> Start(GenerateRequest request) {
    auto sink = std::make_shared<Collector>(request.num_sequences);
    EXPECT_TRUE(engine_->Generate(std::move(request), sink).ok());
    return sink;
  }
  std::shared_ptr<DecisionCollector> Decide(std::vector<TokenId> prompt, ExitMode mode) {
    DecideRequest request;
    request.context.prompt = std::move(prompt);
    request.labels = {300, 17, 2048, 999};
    request.mode = mode;
    request.max_mismatch = mode == ExitMode::kExact ? 0 : 0.05;
    auto sink = std::make_shared<DecisionCollector>();
    EXPECT_TRUE(engine_->Decide(std::move(request), sink).ok());
    return sink;
  }

  TempDir dir_;
  TestEngine engine_;
};

std::vector<TokenId> PoisonedPrompt(uint32_t seed) {
  std::vector<TokenId> prompt = MakePrompt(30, seed);
  prompt[20] = kPoison;
  return prompt;
}

void ExpectNotFinite(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_EQ(ReasonOf(status), Reason::kNotFinite) << status;
}

TEST_F(NotFiniteTest, GenerationsThatMeetItEndAndOthersGoOn) {
  const GenerateRequest sound = MakeRequest(MakePrompt(30, 1), 40);
  const auto alone = RunToEnd(*engine_, sound);
  const auto beside = Start(sound);
  GenerateRequest poisoned = MakeRequest(PoisonedPrompt(2), 40);
  for (const bool sampled : {false, true}) {
    poisoned.num_sequences = sampled ? 3 : 1;
    poisoned.sampling.temperature = sampled ? 1.0f : 0.0f;
    poisoned.sampling.num_logprobs = 2;
    const auto sink = Start(poisoned);
    ExpectNotFinite(sink->Wait());
    EXPECT_EQ(sink->num_deltas(), 0);
  }
  EXPECT_TRUE(beside->Wait().ok());
  EXPECT_EQ(beside->sequences()[0].tokens, alone[0].tokens);
  for (uint32_t seed = 10; seed < 14; ++seed) {
    RunToEnd(*engine_, MakeRequest(MakePrompt(60, seed), 8));
  }
  EXPECT_EQ(RunToEnd(*engine_, sound)[0].tokens, alone[0].tokens);
}

TEST_F(NotFiniteTest, DecisionsThatMeetItEndInEveryMode) {
  for (const ExitMode mode : {ExitMode::kExact, ExitMode::kFast, ExitMode::kVerified}) {
    for (uint32_t seed = 0; seed < 6; ++seed) {
      std::vector<TokenId> prompt = MakePrompt(30, seed);
      prompt.back() = kPoison;  // in the SPADE pass too
      const auto sink = Decide(std::move(prompt), mode);
      ExpectNotFinite(sink->Wait());
      EXPECT_TRUE(sink->answers().empty());
    }
  }
  EXPECT_TRUE(Decide(MakePrompt(30, 5), ExitMode::kExact)->Wait().ok());
}

// The SPADE pass meets its answer row and the start token only.
TEST_F(NotFiniteTest, AnEarlyAnswerMayStandWhereFullDepthHasNone) {
  const auto fast = Decide(PoisonedPrompt(2), ExitMode::kFast);
  EXPECT_TRUE(fast->Wait().ok());
  const auto verified = Decide(PoisonedPrompt(2), ExitMode::kVerified);
  ExpectNotFinite(verified->Wait());
  ASSERT_EQ(verified->answers().size(), 1u);
  EXPECT_EQ(verified->answers()[0].kind, DecisionKind::kEarly);
}

TEST_F(NotFiniteTest, LabelsOfSeveralTokensEndToo) {
  DecideRequest request;
  request.context.prompt = PoisonedPrompt(2);
  request.label_sequences = {{300, 17}, {44}};
  auto sink = std::make_shared<DecisionCollector>();
  EXPECT_TRUE(engine_->Decide(std::move(request), sink).ok());
  ExpectNotFinite(sink->Wait());
  EXPECT_TRUE(sink->answers().empty());
}

}  // namespace
}  // namespace spade::testing
