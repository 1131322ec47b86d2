// The tools' traces against spade_reference.py: the SPADE pass written from its definition, in
// double precision.

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/mapped_file.h"
#include "engine/exit/certify.h"
#include "engine/sampling/vocab_scan.h"
#include "tools/eval/exit_climb.h"
#include "tools/trace/exit_columns.h"
#include "tools/trace/tracer.h"

namespace spade {
namespace {

using Json = nlohmann::json;

constexpr char kModel[] = SPADE_SOURCE_DIR "/models/tickets-5m";
constexpr char kGolden[] = SPADE_SOURCE_DIR "/tests/exit/spade_golden.json";
constexpr float kTolerance = 2e-3f;  // of logits of size 10 to 20, in single precision

// The reference's prompts traced once for all tests of this file.
class SpadeGolden : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const absl::StatusOr<std::string> text = ReadTextFile(kGolden, 16 << 20);
    ASSERT_TRUE(text.ok()) << text.status();
    golden_ = new Json(Json::parse(*text, nullptr, false));
    absl::StatusOr<ModelFolder> folder = OpenModelFolder(kModel);
    ASSERT_TRUE(folder.ok()) << folder.status();
    folder_ = new ModelFolder(*std::move(folder));
    prompts_ = new std::vector<Prompt>();
    for (const Json& one : (*golden_)["cases"]) {
      absl::StatusOr<std::vector<TokenId>> ids =
          folder_->tokenizer->Encode(one["prompt"].get<std::string>(), true);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, one["ids"].get<std::vector<TokenId>>());
      prompts_->push_back({*std::move(ids), -1, 0, Part::kCertification});
    }
    traces_ = new Traces(TraceAll(LabelIds()));
  }
  static void TearDownTestSuite() {
    delete traces_;
    delete prompts_;
    delete folder_;
    delete golden_;
  }

  static std::vector<TokenId> LabelIds() {
    return (*golden_)["label_ids"].get<std::vector<TokenId>>();
  }
  static LoadOptions Options() {
    return {.directory = kModel, .weight_dtype = DType::kF32, .num_threads = 1, .max_rows = 1024};
  }
  static Traces TraceAll(const std::vector<TokenId>& labels) {
    const auto loaded =
        LoadedModel::Load(*folder_, Options(), WatchedLayers(1, folder_->config.num_layers));
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    Tracer tracer(**loaded, 1, labels);
    Traces traces{tracer.shape(), {}};
    const std::span<const Prompt> all(*prompts_);
    for (size_t done = 0; done < all.size();) {
      const size_t count = tracer.BatchSize(all.subspan(done));
      const std::vector<float> records = tracer.Trace(all.subspan(done, count));
      traces.values.insert(traces.values.end(), records.begin(), records.end());
      done += count;
    }
    return traces;
  }
  static void ExpectNear(std::span<const float> got, const Json& want) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t k = 0; k < got.size(); ++k) EXPECT_NEAR(got[k], want[k].get<float>(), kTolerance);
  }

  static Json* golden_;
  static ModelFolder* folder_;
  static std::vector<Prompt>* prompts_;
  static Traces* traces_;
};

Json* SpadeGolden::golden_ = nullptr;
ModelFolder* SpadeGolden::folder_ = nullptr;
std::vector<Prompt>* SpadeGolden::prompts_ = nullptr;
Traces* SpadeGolden::traces_ = nullptr;

TEST_F(SpadeGolden, FullDepthMatches) {
  for (size_t p = 0; p < prompts_->size(); ++p) {
    ExpectNear(traces_->Full(p), (*golden_)["cases"][p]["full"]);
  }
}

TEST_F(SpadeGolden, LogitLensMatchesAtEveryLayer) {
  for (size_t p = 0; p < prompts_->size(); ++p) {
    for (int32_t exit = 0; exit < traces_->shape.exits(); ++exit) {
      ExpectNear(traces_->Lens(p, exit), (*golden_)["cases"][p]["lens"][size_t(exit)]);
    }
  }
}

TEST_F(SpadeGolden, SpadeWithItsPositionKeptMatchesAtEveryLayer) {
  for (size_t p = 0; p < prompts_->size(); ++p) {
    for (int32_t exit = 0; exit < traces_->shape.exits(); ++exit) {
      ExpectNear(traces_->Spade(p, exit, SpadePosition::kKept),
                 (*golden_)["cases"][p]["kept"][size_t(exit)]);
    }
  }
}

TEST_F(SpadeGolden, SpadeWithItsPositionResetMatchesAtEveryLayer) {
  for (size_t p = 0; p < prompts_->size(); ++p) {
    for (int32_t exit = 0; exit < traces_->shape.exits(); ++exit) {
      ExpectNear(traces_->Spade(p, exit, SpadePosition::kReset),
                 (*golden_)["cases"][p]["reset"][size_t(exit)]);
    }
  }
}

// A climb in which rows leave must do what the traces, where none left, say it does.
TEST_F(SpadeGolden, ClimbWithExitsGivesTheTracedAnswers) {
  Calibration calibration;
  calibration.position = SpadePosition::kReset;
  calibration.label_ids = LabelIds();
  calibration.hidden_size = folder_->config.hidden_size;
  const auto labels = calibration.label_ids.size();
  const auto hidden = static_cast<size_t>(calibration.hidden_size);
  for (const int32_t layer : {6, 9}) {
    ExitHead head{layer, std::vector<float>(labels * hidden), std::vector<float>(labels), 1.0f};
    for (size_t i = 0; i < head.weight.size(); ++i) head.weight[i] = float(i * 37 % 101) / 500;
    calibration.exits.push_back(std::move(head));
  }
  const ExitOutcomes outcomes =
      MakeOutcomes(*traces_, *prompts_, calibration.exits, calibration.position,
                   [](const Prompt&) { return true; });
  Certificate certificate;
  for (const ExitColumn& exit : outcomes.exits) {
    std::vector<float> sorted = exit.entropies;
    std::ranges::sort(sorted);
    certificate.thresholds.push_back((sorted[9] + sorted[10]) / 2);
  }
  const auto loaded = LoadedModel::Load(*folder_, Options(), {6, 9});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  for (const size_t batch : {size_t{1}, size_t{7}}) {
    for (size_t first = 0; first < prompts_->size(); first += batch) {
      const auto some = std::span<const Prompt>(*prompts_).subspan(
          first, std::min(batch, prompts_->size() - first));
      const ClimbResult result = Climb(**loaded, some, calibration, &certificate);
      for (size_t i = 0; i < some.size(); ++i) {
        const size_t p = first + i;
        int32_t layer = folder_->config.num_layers;
        int32_t answer = ArgMax(traces_->Full(p));
        for (size_t e = 0; e < 2 && layer == folder_->config.num_layers; ++e) {
          if (outcomes.exits[e].entropies[p] >= certificate.thresholds[e]) continue;
          layer = calibration.exits[e].layer;
          answer = ArgMax(traces_->Spade(p, layer - 1, calibration.position));
        }
        EXPECT_EQ(result.exit_layers[i], layer) << p;
        EXPECT_EQ(result.answers[i], answer) << p;
      }
    }
  }
}

}  // namespace
}  // namespace spade
