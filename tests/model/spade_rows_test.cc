// The SPADE pass (arXiv 2507.17618) against a double-precision pass over {start, answer}.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "engine/model/staged_model.h"
#include "tests/testing/double_model.h"
#include "tests/testing/model_runner.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

using Outputs = ModelRunner::Outputs;

constexpr int32_t kExitLayers[] = {1, 3};

std::vector<TokenId> MakeIds(int32_t count, int32_t seed) {
  std::vector<TokenId> ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back((i * 53 + seed * 89) % 250 + 2);
  ids.front() = kTinyBos;
  return ids;
}

class SpadeRowsTest : public ::testing::TestWithParam<const char*> {
 protected:
  SpadeRowsTest() : backend_(MakeTestBackend(GetParam())) {
    WriteTinyModel(dir_.path(), {.num_layers = 5, .tied_head = false});
    model_ = LoadModelOrDie(backend_.get(), dir_.path(),
                            {.weight_dtype = DType::kF32, .max_rows = 96, .exit_layers = {1, 3}});
    config_ = model_->config();
  }

  // Logits of {start, last token} run from `layer` on, after the prompt ran up to it.
  std::vector<double> Reference(const std::vector<TokenId>& ids, int32_t layer,
                                int32_t answer_position) {
    const auto checkpoint = Checkpoint::Open(dir_.path());
    SPADE_CHECK(checkpoint.ok());
    const DoubleModel model(config_, *checkpoint);
    std::vector<int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    const auto rows = model.RunLayers(model.Embed(ids), positions, 0, layer);
    const int32_t pair[] = {0, answer_position};
    const auto two = model.RunLayers({rows.front(), rows.back()}, pair, layer, config_.num_layers);
    return model.Logits(two.back());
  }

  // The same through the model: the last row of a prompt becomes a SPADE row after `stage`.
  std::vector<float> SpadeLogits(const std::vector<TokenId>& ids, int32_t stage, int32_t position) {
    ModelRunner runner(backend_.get(), model_.get());
    runner.Add(0, 0, ids, Outputs::kLast);
    RowBatch& batch = runner.batch();
    model_->Begin(batch);
    for (int32_t s = 0; s <= stage; ++s) model_->RunStage(s, batch, runner.kv());
    Regrouping regrouping;
    regrouping.Begin(batch);
    regrouping.BecomeSpade(static_cast<int32_t>(ids.size()) - 1, position);
    model_->Regroup(regrouping, batch, Tensor{});
    for (int32_t s = stage + 1; s < model_->num_stages(); ++s) {
      model_->RunStage(s, batch, runner.kv());
    }
    return runner.LogitsOfAllRows().front();
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StagedModel> model_;
  ModelConfig config_;
};

void ExpectNear(const std::vector<float>& actual, const std::vector<double>& expected) {
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(actual[i], expected[i], 2e-5 * largest) << "logit " << i;
  }
}

TEST_P(SpadeRowsTest, EqualTheTwoTokenPassWithThePositionKept) {
  ASSERT_TRUE(model_->PrepareStart().ok());
  const auto ids = MakeIds(30, 1);
  for (int32_t stage = 0; stage < 2; ++stage) {
    ExpectNear(SpadeLogits(ids, stage, 29), Reference(ids, kExitLayers[stage], 29));
  }
}

TEST_P(SpadeRowsTest, EqualTheTwoTokenPassWithThePositionReset) {
  ASSERT_TRUE(model_->PrepareStart().ok());
  const auto ids = MakeIds(30, 2);
  for (int32_t stage = 0; stage < 2; ++stage) {
    ExpectNear(SpadeLogits(ids, stage, 1), Reference(ids, kExitLayers[stage], 1));
  }
}

TEST_P(SpadeRowsTest, PromptOfTwoTokensEqualsTheFullPass) {
  ASSERT_TRUE(model_->PrepareStart().ok());
  const auto ids = MakeIds(2, 3);
  ModelRunner runner(backend_.get(), model_.get());
  const std::vector<float> full = runner.Prefill(0, 0, ids).back();
  ExpectNear(SpadeLogits(ids, 0, 1), std::vector<double>(full.begin(), full.end()));
}

TEST_P(SpadeRowsTest, RideBesidePagedRowsWithoutChangingEither) {
  ASSERT_TRUE(model_->PrepareStart().ok());
  const auto a = MakeIds(20, 4);
  const auto b = MakeIds(13, 5);
  const auto c = MakeIds(17, 6);
  const std::vector<float> a_alone = SpadeLogits(a, 0, 19);
  const std::vector<float> c_alone = SpadeLogits(c, 1, 1);
  ModelRunner whole(backend_.get(), model_.get());
  const std::vector<float> b_alone = whole.Prefill(1, 0, b).back();

  ModelRunner runner(backend_.get(), model_.get());
  runner.Add(0, 0, a, Outputs::kLast);
  runner.Add(1, 0, b, Outputs::kLast);
  runner.Add(2, 0, c, Outputs::kLast);
  RowBatch& batch = runner.batch();
  model_->Begin(batch);
  model_->RunStage(0, batch, runner.kv());
  // a leaves after stage 0, its position kept; b and c go on.
  Regrouping regrouping;
  regrouping.Begin(batch);
  for (int32_t row = 20; row < 50; ++row) regrouping.Stay(row);
  regrouping.BecomeSpade(19, 19);
  model_->Regroup(regrouping, batch, Tensor{});
  EXPECT_EQ(batch.spade_rows, 1);
  model_->RunStage(1, batch, runner.kv());
  // c leaves after stage 1, its position reset; it joins a behind b's rows.
  regrouping.Begin(batch);
  for (int32_t row = 0; row < 13; ++row) regrouping.Stay(row);
  regrouping.Stay(30);
  regrouping.BecomeSpade(29, 1);
  model_->Regroup(regrouping, batch, Tensor{});
  EXPECT_EQ(batch.spade_rows, 2);
  model_->RunStage(2, batch, runner.kv());
  EXPECT_EQ(runner.LogitsOfAllRows(), (std::vector<std::vector<float>>{b_alone, a_alone, c_alone}));
}

TEST_P(SpadeRowsTest, SpadeRowsThatLeaveChangeNoOther) {
  ASSERT_TRUE(model_->PrepareStart().ok());
  const auto a = MakeIds(11, 7);
  const auto b = MakeIds(12, 8);
  const std::vector<float> b_alone = SpadeLogits(b, 0, 11);
  ModelRunner runner(backend_.get(), model_.get());
  runner.Add(0, 0, a, Outputs::kLast);
  runner.Add(1, 0, b, Outputs::kLast);
  RowBatch& batch = runner.batch();
  model_->Begin(batch);
  model_->RunStage(0, batch, runner.kv());
  Regrouping regrouping;
  regrouping.Begin(batch);
  regrouping.BecomeSpade(10, 10);
  regrouping.BecomeSpade(22, 11);
  model_->Regroup(regrouping, batch, Tensor{});
  regrouping.Begin(batch);
  regrouping.Stay(1);
  model_->Regroup(regrouping, batch, Tensor{});
  model_->RunStage(1, batch, runner.kv());
  model_->RunStage(2, batch, runner.kv());
  EXPECT_EQ(runner.LogitsOfAllRows(), (std::vector<std::vector<float>>{b_alone}));
}

TEST_P(SpadeRowsTest, StartNeedsABosToken) {
  WriteTinyModel(dir_.path(), {.has_bos = false});
  // generation_config.json names eos ids only for us; its bos is no promise that prompts have one.
  const auto model = LoadModelOrDie(backend_.get(), dir_.path(), {.weight_dtype = DType::kF32});
  EXPECT_EQ(model->PrepareStart().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(model->has_start());
}

INSTANTIATE_TEST_SUITE_P(Backends, SpadeRowsTest,
                         ::testing::Values("cpu", "cpu:portable", "reference", "cpu*2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, ':', '_');
                           std::ranges::replace(name, '*', '_');
                           return name;
                         });

}  // namespace
}  // namespace spade::testing
