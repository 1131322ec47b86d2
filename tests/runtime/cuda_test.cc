// The engine on the GPU gives what it gives on the CPU.
#include <gtest/gtest.h>

#include "tests/runtime/exit_fixture.h"
#include "tests/testing/model_runner.h"

namespace spade::testing {
namespace {

class CudaEngineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasCuda()) GTEST_SKIP() << "no GPU, or a build without it";
  }

  static EngineOptions OptionsOf(const std::string& device) {
    EngineOptions options = SmallOptions();
    options.backend.device = device;
    options.backend.batch_invariant = true;
    return options;
  }

  static std::vector<std::vector<TokenId>> Generate(const std::string& device) {
    return GenerateTogether(OptionsOf(device), MakePrompt);
  }

  static Decision Decide(Engine& engine, ExitMode mode) {
    DecideRequest request;
    request.context.prompt = MakePrompt(12, 3);
    request.labels = {300, 17, 2048, 999};
    request.mode = mode;
    request.max_mismatch = mode == ExitMode::kExact ? 0 : 0.05;
    auto sink = std::make_shared<DecisionCollector>();
    EXPECT_TRUE(engine.Decide(std::move(request), sink).ok());
    EXPECT_TRUE(sink->Wait().ok());
    return sink->answers().back().decision;
  }
};

TEST_F(CudaEngineTest, GreedyTokensEqualTheCpus) { EXPECT_EQ(Generate("cuda"), Generate("cpu")); }

TEST_F(CudaEngineTest, DecisionsLeaveWhereTheCpusDo) {
  const TempDir dir;
  EngineOptions options[] = {OptionsOf("cpu"), OptionsOf("cuda")};
  Decision decisions[2][2];
  for (int device = 0; device < 2; ++device) {
    options[device].calibrations = {dir.File("hand.safetensors")};
    ASSERT_TRUE(
        SaveCalibration(HandMadeCalibration(SpadePosition::kKept), dir.File("hand.safetensors"))
            .ok());
    const TestEngine engine = MakeEngine(options[device]);
    decisions[device][0] = Decide(*engine, ExitMode::kExact);
    decisions[device][1] = Decide(*engine, ExitMode::kFast);
  }
  for (int mode = 0; mode < 2; ++mode) {
    EXPECT_EQ(decisions[0][mode].label, decisions[1][mode].label);
    EXPECT_EQ(decisions[0][mode].exit_layer, decisions[1][mode].exit_layer);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(decisions[0][mode].probabilities[i], decisions[1][mode].probabilities[i], 1e-4);
    }
  }
}

// Rows with blocks of the scratch and of the pool in one climb.
TEST_F(CudaEngineTest, DecisionsWithoutAPrefixCacheRunBesideGenerations) {
  Decision decisions[2];
  std::vector<TokenId> tokens[2];
  for (int device = 0; device < 2; ++device) {
    EngineOptions options = OptionsOf(device == 0 ? "cpu" : "cuda");
    options.prefix_cache = false;
    const TestEngine engine = MakeEngine(options);
    auto sink = std::make_shared<Collector>();
    ASSERT_TRUE(engine->Generate(MakeRequest(MakePrompt(9, 5), 8), sink).ok());
    sink->WaitForDeltas(1);
    decisions[device] = Decide(*engine, ExitMode::kExact);
    ASSERT_TRUE(sink->Wait().ok());
    tokens[device] = sink->sequences()[0].tokens;
  }
  EXPECT_EQ(tokens[0], tokens[1]);
  EXPECT_EQ(decisions[0].label, decisions[1].label);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(decisions[0].probabilities[i], decisions[1].probabilities[i], 1e-4);
  }
}

TEST_F(CudaEngineTest, DraftsOfABatchInvariantGpuChangeNothing) {
  // Every third token leaves at layer 4 with a draft that is rarely right.
  const auto exit = [](const Sequence&, int32_t position, int32_t layer) {
    return layer == 4 && position % 3 == 0 ? std::optional<TokenId>(17) : std::nullopt;
  };
  const ForcedExitEngine engine(OptionsOf("cuda"), exit);
  const auto tokens_of = [&](ExitMode mode) {
    return RunToEnd(*engine, MakeEarlyRequest(MakePrompt(9, 5), 6, mode)).at(0).tokens;
  };
  EXPECT_EQ(tokens_of(ExitMode::kVerified), tokens_of(ExitMode::kExact));
}

// Several sequences at once, with rows that leave, wait and join: tokens and their logprobs.
TEST_F(CudaEngineTest, GraphsChangeNoBit) {
  const auto exit = [](const Sequence&, int32_t position, int32_t layer) {
    return position % 3 == 0 && layer == (position % 2 == 0 ? 4 : 8) ? std::optional<TokenId>(17)
                                                                     : std::nullopt;
  };
  const auto run = [&](int32_t cuda_graphs) {
    EngineOptions options = OptionsOf("cuda");
    options.backend.cuda_graphs = cuda_graphs;
    const ForcedExitEngine engine(options, exit);
    std::vector<std::shared_ptr<Collector>> sinks;
    for (const ExitMode mode : {ExitMode::kExact, ExitMode::kFast, ExitMode::kVerified}) {
      sinks.push_back(std::make_shared<Collector>());
      const uint32_t seed = 3 + static_cast<uint32_t>(mode);
      EXPECT_TRUE(
          engine->Generate(MakeEarlyRequest(MakePrompt(5, seed), 12, mode), sinks.back()).ok());
    }
    std::vector<std::pair<std::vector<TokenId>, std::vector<float>>> outputs;
    for (const auto& sequences : WaitForAll(sinks)) {
      outputs.emplace_back(sequences.at(0).tokens, sequences.at(0).logprobs);
    }
    return outputs;
  };
  EXPECT_EQ(run(256), run(0));
}

}  // namespace
}  // namespace spade::testing
