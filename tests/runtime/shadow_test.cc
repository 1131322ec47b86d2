// Shadow checks: early answers completed to full depth and compared.
#include <gtest/gtest.h>

#include <thread>

#include "tests/runtime/exit_fixture.h"
#include "tests/testing/temp_dir.h"

namespace spade::testing {
namespace {

DecideRequest FastDecision(int length, uint32_t seed) {
  DecideRequest request;
  request.context.prompt = MakePrompt(length, seed);
  request.labels = {300, 17, 2048, 999};
  request.mode = ExitMode::kFast;
  request.max_mismatch = 0.05;
  return request;
}

class ShadowTest : public ::testing::Test {
 protected:
  TestEngine MakeChecking(double share, const Calibration& calibration) {
    EngineOptions options = SmallOptions();
    options.shadow_share = share;
    options.calibrations = {dir_.File("hand.safetensors")};
    EXPECT_TRUE(SaveCalibration(calibration, options.calibrations[0]).ok());
    return MakeEngine(options);
  }
  TestEngine MakeChecking(double share) {
    return MakeChecking(share, HandMadeCalibration(SpadePosition::kKept));
  }

  // Answers `count` decisions; returns how many left early.
  int DecideMany(Engine& engine, int count) {
    int exits = 0;
    for (int i = 0; i < count; ++i) {
      auto sink = std::make_shared<DecisionCollector>();
      EXPECT_TRUE(engine.Decide(FastDecision(6 + i, 70u + i), sink).ok());
      EXPECT_TRUE(sink->Wait().ok());
      exits += sink->answers()[0].decision.exit_layer < 12 ? 1 : 0;
    }
    return exits;
  }

  // Checks run after the answers, when nothing else does.
  static void WaitForChecks(const TestEngine& engine, double full_rows) {
    for (int i = 0; i < 2000; ++i) {
      if (MetricValue(*engine.registry, "spade_shadow_layer_rows_full_total") >= full_rows) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ADD_FAILURE() << "the checks did not end";
  }

  TempDir dir_;
};

TEST_F(ShadowTest, EveryEarlyDecisionIsChecked) {
  const TestEngine engine = MakeChecking(/*share=*/1);
  const int exits = DecideMany(*engine, 30);
  ASSERT_GT(exits, 0);
  WaitForChecks(engine,
                MetricValue(*engine.registry, "spade_layer_rows_full_total", {{"mode", "FAST"}}));
  const prometheus::Registry& registry = *engine.registry;
  EXPECT_EQ(MetricValue(registry, "spade_shadow_checks_total"), exits);
  EXPECT_EQ(MetricValue(registry, "spade_shadow_layer_rows_saved_total"),
            MetricValue(registry, "spade_layer_rows_saved_total", {{"mode", "FAST"}}));
  EXPECT_EQ(engine->Stats().kv_blocks_in_use, 0);
}

// Where everything leaves at the first exit many answers are wrong: it must close by itself.
TEST_F(ShadowTest, AnExitThatBreaksItsBoundIsClosed) {
  Calibration calibration = HandMadeCalibration(SpadePosition::kKept);
  calibration.certificates[1].thresholds = {100.0f, 0.0f};
  const TestEngine engine = MakeChecking(/*share=*/1, calibration);
  int last_exits = 1;
  for (int round = 0; round < 20 && last_exits > 0; ++round) {
    last_exits = DecideMany(*engine, 60);
    WaitForChecks(engine,
                  MetricValue(*engine.registry, "spade_layer_rows_full_total", {{"mode", "FAST"}}));
  }
  EXPECT_EQ(last_exits, 0);
  EXPECT_GT(MetricValue(*engine.registry, "spade_shadow_checks_total", {{"agreed", "false"}}), 0);
  EXPECT_GT(MetricValue(*engine.registry, "spade_exits_disabled"), 0);
}

TEST_F(ShadowTest, CallersNeverSeeChecks) {
  const TestEngine engine = MakeChecking(/*share=*/1);
  DecideMany(*engine, 20);
  WaitForChecks(engine,
                MetricValue(*engine.registry, "spade_layer_rows_full_total", {{"mode", "FAST"}}));
  EXPECT_EQ(MetricValue(*engine.registry, "spade_decisions_total"), 20);
  EXPECT_EQ(MetricValue(*engine.registry, "spade_requests_total", {{"rpc", "Decide"}}), 20);
  EXPECT_EQ(engine->Stats().running, 0);
  EXPECT_EQ(engine->Stats().waiting, 0);
}

TEST_F(ShadowTest, NoShareNoChecks) {
  const TestEngine engine = MakeChecking(/*share=*/0);
  DecideMany(*engine, 20);
  EXPECT_EQ(MetricValue(*engine.registry, "spade_shadow_checks_total"), 0);
}

// A checked token's row goes to full depth in its own step, and its token stays the early one.
TEST_F(ShadowTest, CheckedTokensStayAsTheyWere) {
  const auto always = [](const Sequence&, int32_t position, int32_t) {
    return std::optional<TokenId>(static_cast<TokenId>(2 + position * 37 % 4000));
  };
  EngineOptions options = SmallOptions();
  options.shadow_share = 0;
  const ForcedExitEngine unchecked(options, always);
  options.shadow_share = 0.5;
  const ForcedExitEngine checked(options, always);
  const GenerateRequest request = MakeEarlyRequest(MakePrompt(12, 3), 40, ExitMode::kFast);
  EXPECT_EQ(RunToEnd(*checked, request)[0].tokens, RunToEnd(*unchecked, request)[0].tokens);
  EXPECT_GT(MetricValue(checked.registry(), "spade_shadow_checks_total"), 5);
  EXPECT_EQ(checked.num_parked(), 0);
}

}  // namespace
}  // namespace spade::testing
