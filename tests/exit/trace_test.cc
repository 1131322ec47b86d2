#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tools/eval/evaluation.h"
#include "tools/eval/html_report.h"
#include "tools/eval/svg_chart.h"
#include "tools/trace/exit_columns.h"
#include "tools/trace/layer_table.h"
#include "tools/trace/loaded_model.h"
#include "tools/trace/prompt_file.h"
#include "tools/trace/token_traces.h"
#include "tools/trace/trace_file.h"

namespace spade {
namespace {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content) {
    static int count = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("spade_trace_test." + std::to_string(getpid()) + "." + std::to_string(count++)))
                .string();
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class PromptFile : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<ModelFolder> folder = OpenModelFolder(SPADE_SOURCE_DIR "/models/tickets-5m");
    ASSERT_TRUE(folder.ok()) << folder.status();
    folder_ = *std::move(folder);
  }
  absl::StatusOr<PromptSet> Load(const std::string& content, std::vector<std::string> labels = {}) {
    const TemporaryFile file(content);
    PromptOptions options;
    options.path = file.path();
    options.labels = std::move(labels);
    return LoadPrompts(options, *folder_.tokenizer, folder_.config);
  }
  ModelFolder folder_;
};

TEST_F(PromptFile, TakesLabelsFromTheLinesInOrder) {
  const auto set = Load(
      "{\"prompt\": \"a\", \"label\": \" card\"}\n\n"
      "{\"prompt\": \"b\", \"label\": \" bank\", \"k\": 3}\n");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->label_texts, (std::vector<std::string>{" card", " bank"}));
  ASSERT_EQ(set->prompts.size(), 2u);
  EXPECT_EQ(set->prompts[1].label, 1);
  EXPECT_EQ(set->prompts[1].messages, 3);
  EXPECT_EQ(set->prompts[0].ids.front(), *folder_.config.bos_id);
}

TEST_F(PromptFile, SkipsPromptsThatAreTooLong) {
  std::string longest;
  for (int i = 0; i < 400; ++i) longest += "word ";
  const auto set =
      Load("{\"prompt\": \"a\"}\n{\"prompt\": \"" + longest + "\"}\n", {" bank", " card"});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->skipped, 1);
  EXPECT_EQ(set->prompts.size(), 1u);
}

TEST_F(PromptFile, EqualPromptsFallInOnePart) {
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    lines += "{\"prompt\": \"message " + std::to_string(i % 100) + "\"}\n";
  }
  const auto set = Load(lines, {" bank", " card"});
  ASSERT_TRUE(set.ok()) << set.status();
  int fit = 0;
  for (size_t p = 0; p < 100; ++p) {
    EXPECT_EQ(set->prompts[p].part, set->prompts[p + 200].part);
    fit += set->prompts[p].part == Part::kFit;
  }
  EXPECT_GT(fit, 20);
  EXPECT_LT(fit, 60);
}

TEST_F(PromptFile, ALineMaySayItsPart) {
  const auto set = Load(
      "{\"prompt\": \"a\", \"part\": \"validation\"}\n"
      "{\"prompt\": \"a\", \"part\": \"certification\"}\n",
      {" bank", " card"});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->prompts[0].part, Part::kValidation);
  EXPECT_EQ(set->prompts[1].part, Part::kCertification);
}

TEST_F(PromptFile, RefusalsNameTheLine) {
  for (const char* bad : {"nonsense", "{}", "[1]", "{\"prompt\": 3}", "{\"prompt\": \"\"}",
                          "{\"prompt\": \"a\", \"label\": \" tiger\"}",
                          "{\"prompt\": \"a\", \"part\": \"all\"}", "{\"prompt\": \"\\ud800\"}"}) {
    const auto set = Load(std::string("{\"prompt\": \"a\"}\n") + bad + "\n", {" bank", " card"});
    EXPECT_EQ(set.status().code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_NE(set.status().message().find(":2:"), absl::string_view::npos) << set.status();
  }
}

TEST_F(PromptFile, RefusesLabelsThatAreNotOneToken) {
  EXPECT_FALSE(Load("{\"prompt\": \"a\"}\n", {" bank", " extraordinarily long"}).ok());
  EXPECT_FALSE(Load("{\"prompt\": \"a\"}\n", {" bank"}).ok());
  EXPECT_FALSE(Load("{\"prompt\": \"a\"}\n", {" bank", " bank"}).ok());
  EXPECT_FALSE(Load("", {" bank", " card"}).ok());
}

TEST(SplitLabels, KeepsSpaces) {
  EXPECT_EQ(SplitLabels(" a, b,c"), (std::vector<std::string>{" a", " b", "c"}));
  EXPECT_TRUE(SplitLabels("").empty());
}

const TraceShape kShape{3, 5, 2, 2};  // records of 2 + 2 * (2 + 6) floats

std::vector<float> Record(float value) {
  return std::vector<float>(static_cast<size_t>(kShape.record_floats()), value);
}

TEST(TraceFile, GoesOnWhereItStopped) {
  const TemporaryFile place("");
  const std::string key(64, 'k');
  {
    auto file = TraceFile::Open(place.path(), key, kShape.record_floats(), 10);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(file->TakeRecords().empty());
    ASSERT_TRUE(file->Append(Record(1)).ok());
    ASSERT_TRUE(file->Append(Record(2)).ok());
  }
  std::filesystem::resize_file(place.path(), std::filesystem::file_size(place.path()) - 3);
  {
    auto file = TraceFile::Open(place.path(), key, kShape.record_floats(), 10);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->TakeRecords(), Record(1));  // the second was cut short
    ASSERT_TRUE(file->Append(Record(3)).ok());
  }
  auto file = TraceFile::Open(place.path(), key, kShape.record_floats(), 10);
  ASSERT_TRUE(file.ok()) << file.status();
  const Traces traces{kShape, file->TakeRecords()};
  ASSERT_EQ(traces.prompts(), 2u);
  EXPECT_EQ(traces.Full(1)[0], 3);
}

TEST(TraceFile, StartsOverForAnotherKey) {
  const TemporaryFile place("");
  ASSERT_TRUE(TraceFile::Open(place.path(), std::string(64, 'a'), kShape.record_floats(), 10)
                  ->Append(Record(1))
                  .ok());
  auto file = TraceFile::Open(place.path(), std::string(64, 'b'), kShape.record_floats(), 10);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->TakeRecords().empty());
}

TEST(TraceFile, SaysWhereItCannotWrite) {
  const auto file =
      TraceFile::Open("/nonexistent/x", std::string(64, 'a'), kShape.record_floats(), 10);
  EXPECT_EQ(file.status().code(), absl::StatusCode::kUnavailable);
}

TEST(LayerTable, CountsAnswersByHand) {
  Traces traces{kShape, Record(0)};
  traces.values[1] = 1;                      // full depth says 1
  traces.values[2 + 2 + 1] = 1;              // lens at layer 3 says 1
  traces.values[2 + 2 + 2 + 2 + 1] = 1;      // SPADE reset at layer 3 says 1, kept 0
  traces.values[2 + 8 + 2 + 2 + 2 + 1] = 1;  // SPADE reset at layer 4 says 1
  const std::vector<Prompt> prompts = {{{0, 1, 2}, 1, 1, Part::kFit}};
  const LayerTable table = MakeLayerTable(traces, prompts, [](const Prompt&) { return true; });
  EXPECT_EQ(table.full_accuracy, 1);
  EXPECT_EQ(table.rows[0].layer, 3);
  EXPECT_EQ(table.rows[0].lens.agreement, 1);
  EXPECT_EQ(table.rows[0].kept.agreement, 0);
  EXPECT_EQ(table.rows[0].reset.agreement, 1);
  EXPECT_EQ(table.rows[1].lens.agreement, 0);
  EXPECT_EQ(table.rows[1].reset.accuracy, 1);
  EXPECT_EQ(BetterPosition(table), SpadePosition::kReset);
}

TEST(LayerTable, CountsAHeadsLabels) {
  Traces traces{kShape, Record(0)};
  traces.values[1] = 1;      // full depth says 1
  traces.values[2 + 8] = 3;  // the hidden state at layer 4 is (3, 0)
  const std::vector<Prompt> prompts = {{{0, 1, 2}, 0, 1, Part::kFit}};  // 0 were right
  const ExitHead head{4, {-1, 0, 1, 0}, {0, 0}, 1};
  const Quality quality = QualityOf(head, traces, prompts);
  EXPECT_EQ(quality.agreement, 1);
  EXPECT_EQ(quality.accuracy, 0);
}

TEST(TokenTraces, AreReadWhereTheyWereWritten) {
  TokenTraces traces{/*first_layer=*/2, /*num_layers=*/4, /*hidden_size=*/2, 1, {}};
  traces.values = {7,  0.5f, 1,  2,    // full depth
                   8,  0.6f, 3,  4,    // SPADE from layer 2
                   9,  0.7f, 5,  6,    // SPADE from layer 3
                   11, 12,   13, 14};  // hidden states after layers 2 and 3
  ASSERT_EQ(traces.record_floats(), 16);
  ASSERT_EQ(traces.records(), 1u);
  EXPECT_EQ(traces.Drawn(0), 7);
  EXPECT_EQ(traces.Full(0).log_sum_exp, 0.5f);
  EXPECT_EQ(traces.Spade(0, 1).token, 9);
  EXPECT_EQ(traces.Spade(0, 0).state[1], 4);
  EXPECT_EQ(traces.Hidden(0, 0)[0], 11);
  EXPECT_EQ(traces.Hidden(0, 1)[1], 14);
}

TEST(CompareWith, CountsAnswersThatAgreeAndThatAreRight) {
  const TraceShape full_only{4, 4, 2, 2};  // records of 2 logits
  const Traces traces{full_only, {1, 0, 1, 0, 0, 1, 0, 1}};
  const Traces baseline{full_only, {1, 0, 0, 1, 0, 1, 1, 0}};
  const std::vector<Prompt> prompts = {{{0}, 0, 1, Part::kFit},
                                       {{0}, 1, 1, Part::kFit},
                                       {{0}, 0, 1, Part::kFit},
                                       {{0}, 0, 1, Part::kFit}};
  const Baseline compared = CompareWith(baseline, "other types", traces, prompts);
  EXPECT_EQ(compared.types, "other types");
  EXPECT_DOUBLE_EQ(compared.agreement, 0.5);  // on the first and the third
  EXPECT_DOUBLE_EQ(compared.accuracy, 0.75);  // all but the third
}

TEST(OracleSaving, LeavesAtTheEarliestExitThatStaysRight) {
  ExitOutcomes outcomes;
  outcomes.rows = {11, 11};
  outcomes.exits = {ExitColumn{2, {0, 0}, {0, 0}}, ExitColumn{4, {0, 0}, {1, 0}},
                    ExitColumn{6, {0, 0}, {0, 0}}};
  const LayerCosts costs{8, 1, 0};  // the first prompt leaves at 6, the second at 2
  EXPECT_DOUBLE_EQ(OracleSaving(outcomes, costs), (10.0 * 2 + 10 * 6) / (2 * 11 * 8));
}

TEST(TradeCurve, GoesFromNoneToAll) {
  ExitOutcomes outcomes;
  outcomes.rows = {11, 11};
  outcomes.exits = {ExitColumn{2, {0.5f, 0.1f}, {1, 0}}};
  const auto curve = TradeCurve(outcomes, {8, 1, 0}, 10);
  EXPECT_EQ(curve.front().exited, 0);
  EXPECT_EQ(curve.back().exited, 1);
  EXPECT_EQ(curve.back().mismatch, 0.5);
}

TEST(HtmlReport, EscapesWhatItIsGiven) {
  EXPECT_EQ(EscapeHtml("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
  Evaluation evaluation;
  evaluation.model = "<script>";
  evaluation.table.rows = {LayerRow{1, {}, {}, {}}, LayerRow{2, {}, {}, {}, Quality{0.25, 0.75}}};
  const std::string html = RenderHtml(evaluation);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_NE(html.find("<svg"), std::string::npos);
  EXPECT_NE(html.find("0.250 / 0.750"), std::string::npos);  // L-SPADE's, of one layer
  EXPECT_EQ(html.find("http"), std::string::npos);           // needs nothing from elsewhere
}

}  // namespace
}  // namespace spade
