// The engine over several devices gives what it gives on one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "engine/tokenizer/tokenizer.h"
#include "tests/runtime/exit_fixture.h"
#include "tests/testing/model_runner.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kHidden = 64;
const std::vector<TokenId> kLabels = {99, 30, 17, 204};

std::vector<TokenId> TinyPrompt(int length, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> prompt = {kTinyBos};
  while (std::ssize(prompt) < length) {
    prompt.push_back(kTinyFirstByte + static_cast<TokenId>(random() % 256));
  }
  return prompt;
}

// Exits after layers 1 and 3 with weights of chance: some decisions leave.
Calibration TinyCalibration(const std::string& model) {
  Calibration calibration;
  calibration.model_sha256 = Checkpoint::Open(model)->Sha256();
  calibration.tokenizer_sha256 =
      (*Tokenizer::Parse(*ReadTextFile(model + "/tokenizer.json", 1 << 20)))->sha256();
  calibration.weight_dtype = "f32";
  calibration.label_ids = kLabels;
  calibration.label_texts = {"a", "b", "c", "d"};
  calibration.hidden_size = kHidden;
  constexpr int32_t kLayers[] = {1, 3};
  calibration.exits = RandomHeads(kLayers, kHidden, 0.2f);
  calibration.certificates = {{0.05, {0.9f, 1.1f}, {10, 10}, {0, 0}, 10, 0.2}};
  return calibration;
}

class TensorParallelEngineTest : public ::testing::TestWithParam<std::string> {
 protected:
  TensorParallelEngineTest() { WriteTinyModel(dir_.path(), {.hidden_size = kHidden}); }
  void SetUp() override {
    if (GetParam() == "cuda" && !HasCuda(2)) GTEST_SKIP() << "fewer than two GPUs";
  }

  EngineOptions OptionsOf(int32_t shards) const {
    EngineOptions options = SmallOptions();
    options.model_directory = dir_.path();
    options.kv_memory_bytes = int64_t{1} << 20;
    options.backend.device = shards == 1 ? "cpu" : GetParam();
    options.backend.batch_invariant = true;
    options.backend.tensor_parallel = shards;
    return options;
  }

  std::vector<std::vector<TokenId>> Generate(int32_t shards) const {
    return GenerateTogether(OptionsOf(shards), TinyPrompt);
  }

  // The answers to several prompts, EXACT, FAST and VERIFIED.
  std::vector<Decision> Decide(int32_t shards) {
    EngineOptions options = OptionsOf(shards);
    options.calibrations = {dir_.File("hand.safetensors")};
    EXPECT_TRUE(SaveCalibration(TinyCalibration(dir_.path()), options.calibrations[0]).ok());
    const TestEngine engine = MakeEngine(options);
    std::vector<Decision> decisions;
    for (const uint32_t seed : {1u, 2u, 3u}) {
      for (const ExitMode mode : {ExitMode::kExact, ExitMode::kFast, ExitMode::kVerified}) {
        DecideRequest request;
        request.context.prompt = TinyPrompt(12, seed);
        request.labels = kLabels;
        request.mode = mode;
        request.max_mismatch = mode == ExitMode::kExact ? 0 : 0.05;
        auto sink = std::make_shared<DecisionCollector>();
        EXPECT_TRUE(engine->Decide(std::move(request), sink).ok());
        EXPECT_TRUE(sink->Wait().ok());
        for (const auto& answer : sink->answers()) decisions.push_back(answer.decision);
      }
    }
    return decisions;
  }

  TempDir dir_;
};

TEST_P(TensorParallelEngineTest, GreedyTokensEqualOneDevices) {
  EXPECT_EQ(Generate(2), Generate(1));
}

TEST_P(TensorParallelEngineTest, DecisionsLeaveWhereOneDevicesDo) {
  const std::vector<Decision> one = Decide(1);
  const std::vector<Decision> two = Decide(2);
  ASSERT_EQ(one.size(), two.size());
  int early = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(two[i].label, one[i].label) << i;
    EXPECT_EQ(two[i].exit_layer, one[i].exit_layer) << i;
    early += one[i].exit_layer < 4;
    for (size_t label = 0; label < kLabels.size(); ++label) {
      EXPECT_NEAR(two[i].probabilities[label], one[i].probabilities[label], 1e-4) << i;
    }
  }
  EXPECT_GT(early, 0) << "no decision was early";
}

TEST_P(TensorParallelEngineTest, KvMemoryIsThatOfEachDevice) {
  const TestEngine one = MakeEngine(OptionsOf(1));
  const TestEngine two = MakeEngine(OptionsOf(2));
  // A block takes half as much on each of two.
  EXPECT_EQ(two->Stats().kv_blocks, 2 * one->Stats().kv_blocks);
  EXPECT_EQ(two->info().kv_bytes, 2 * one->info().kv_bytes);
  // What is not split is there twice.
  EXPECT_GT(two->info().weight_bytes, one->info().weight_bytes);
  EXPECT_LT(two->info().weight_bytes, 2 * one->info().weight_bytes);
}

TEST_P(TensorParallelEngineTest, HeadsThatCannotBeSharedOutAreRefused) {
  prometheus::Registry registry;
  EngineOptions options = OptionsOf(4);
  if (GetParam() == "cuda") options.backend.batch_invariant = false;
  const absl::Status status = Engine::Create(options, &registry).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  if (GetParam() == "cuda" && !HasCuda(4)) return;
  EXPECT_THAT(std::string(status.message()), HasSubstr("use --tensor-parallel 1, 2"));
}

INSTANTIATE_TEST_SUITE_P(Devices, TensorParallelEngineTest, ::testing::Values("cpu", "cuda"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace spade::testing
