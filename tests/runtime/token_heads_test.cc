// TokenHeads on a backend against the fit's own arithmetic.
#include "engine/runtime/token_heads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/exit/token_fit.h"
#include "engine/model/head_rows.h"
#include "engine/sampling/logit_queries.h"
#include "tests/testing/model_runner.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tiny_model.h"

namespace spade::testing {
namespace {

constexpr int64_t kHidden = 64;

class TokenHeadsTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("cuda") && !HasCuda()) {
      GTEST_SKIP() << "no GPU, or a build without it";
    }
    backend_ = MakeTestBackend(GetParam());
  }

  TokenHeadsTest() {
    WriteTinyModel(dir_.path(), {});
    config_ = LoadConfigOrDie(dir_.path());
    calibration_.hidden_size = kHidden;
    calibration_.rank = 5;
    for (TokenId id = 3; id < 120; id += 4) calibration_.candidates.push_back(id);
    for (const int32_t layer : {1, 3}) {
      TokenExit exit;
      exit.layer = layer;
      exit.down = Normals(5 * kHidden, 10u + layer, 0.2f);
      exit.up = Normals(kHidden * 5, 20u + layer, 0.3f);
      exit.other = Normals(kHidden, 30u + layer, 0.1f);
      exit.other_bias = 0.7f;
      exit.temperature = 1.3f;
      calibration_.exits.push_back(std::move(exit));
    }
  }

  static std::vector<float> Normals(size_t count, uint32_t seed, float scale) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
  }

  // Guesses for `hidden` (rows, kHidden) after `layer` layers.
  std::vector<TokenGuess> Guess(int32_t layer, const std::vector<float>& hidden) {
    const auto checkpoint = Checkpoint::Open(dir_.path());
    auto heads = TokenHeads::Create(backend_.get(), config_, *checkpoint, calibration_, DType::kF32,
                                    /*max_rows=*/64);
    EXPECT_TRUE(heads.ok()) << heads.status();
    heads_ = *std::move(heads);
    const int64_t rows = std::ssize(hidden) / kHidden;
    rows_ = *backend_->Allocate(hidden.size() * sizeof(float));
    backend_->CopyFromHost(rows_.data(), hidden.data(), hidden.size() * sizeof(float));
    std::vector<TokenGuess> guesses(static_cast<size_t>(rows));
    for (TokenGuess& guess : guesses) guess.draw = draw_;
    heads_->Guess(layer, Tensor{rows_.data(), rows, kHidden, DType::kF32}, guesses);
    return guesses;
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_;
  ModelConfig config_;
  TokenCalibration calibration_;
  std::unique_ptr<TokenHeads> heads_;
  LogitQuery draw_;  // of the guesses
  Buffer rows_;
};

TEST_P(TokenHeadsTest, EntropyIsThatOfTheFitsProbabilities) {
  const std::vector<float> hidden = Normals(9 * kHidden, 4, 1);
  const auto checkpoint = Checkpoint::Open(dir_.path());
  const auto read = ReadHeadRows(config_, *checkpoint, calibration_.candidates);
  const CandidateHead head{read->rows, read->norm, config_.rms_norm_epsilon};
  for (size_t e = 0; e < 2; ++e) {
    const std::vector<TokenGuess> guesses = Guess(calibration_.exits[e].layer, hidden);
    const std::vector<float> expected = TokenProbabilities(calibration_.exits[e], head, hidden);
    const size_t entries = calibration_.candidates.size() + 1;
    for (size_t row = 0; row < guesses.size(); ++row) {
      const auto probabilities = std::span(expected).subspan(row * entries, entries);
      double entropy = 0;
      for (const double p : probabilities) entropy -= p > 0 ? p * std::log(p) : 0;
      EXPECT_NEAR(guesses[row].entropy, entropy, 1e-4);
      const auto candidates = probabilities.first(entries - 1);
      const auto best = std::ranges::max_element(candidates) - candidates.begin();
      EXPECT_EQ(BestCandidate(guesses[row], calibration_.candidates),
                calibration_.candidates[static_cast<size_t>(best)]);
    }
  }
}

// As GeneratedSequence draws from the logits where they are on the host.
TEST_P(TokenHeadsTest, BackendsThatReadLogitsDrawTheHostsTokens) {
  if (backend_->logit_reader() == nullptr) GTEST_SKIP() << "the engine draws";
  const std::vector<float> hidden = Normals(9 * kHidden, 4, 1);
  const auto checkpoint = Checkpoint::Open(dir_.path());
  const auto read = ReadHeadRows(config_, *checkpoint, calibration_.candidates);
  const CandidateHead head{read->rows, read->norm, config_.rms_norm_epsilon};
  const size_t entries = calibration_.candidates.size() + 1;
  const std::vector<float> expected = TokenProbabilities(calibration_.exits[0], head, hidden);
  SamplingParams params;
  params.temperature = 1.4f;
  params.top_k = 12;
  SamplerScratch scratch;
  for (int32_t position = 0; position < 10; ++position) {
    draw_ = PlainDraw(/*row=*/0, params, /*sequence_index=*/3, position);
    const std::vector<TokenGuess> guesses = Guess(calibration_.exits[0].layer, hidden);
    for (size_t row = 0; row < guesses.size(); ++row) {
      std::vector<float> logits(static_cast<size_t>(config_.vocab_size), -INFINITY);
      for (size_t i = 0; i + 1 < entries; ++i) {
        logits[static_cast<size_t>(calibration_.candidates[i])] =
            std::log(expected[row * entries + i]);
      }
      const TokenHistory none({});
      EXPECT_EQ(guesses[row].token, Sample(logits, params, none, {}, 3, position, scratch).id);
    }
  }
}

TEST_P(TokenHeadsTest, StatesThatAreNotFiniteNeverLookSure) {
  std::vector<float> hidden = Normals(2 * kHidden, 4, 1);
  hidden[5] = std::nanf("");
  const std::vector<TokenGuess> guesses = Guess(1, hidden);
  EXPECT_TRUE(std::isinf(guesses[0].entropy));
  EXPECT_TRUE(std::isfinite(guesses[1].entropy));
}

INSTANTIATE_TEST_SUITE_P(Backends, TokenHeadsTest,
                         ::testing::Values("cpu", "reference", "cuda", "cpu*2"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, '*', 'x');
                           return name;
                         });

}  // namespace
}  // namespace spade::testing
