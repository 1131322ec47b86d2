#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "loadtest/report_html.h"
#include "loadtest/report_json.h"
#include "loadtest/report_text.h"
#include "loadtest/svg_plot.h"
#include "loadtest/write_file.h"

namespace spade::loadtest {
namespace {

using nlohmann::json;

RunResult MakeRun(double ttft_s) {
  RunLog log;
  for (int i = 0; i < 20; ++i) {
    RequestRecord record;
    record.due = record.sent = i * 0.1;
    record.first = record.sent + ttft_s * (1 + i * 0.01);
    record.last = record.end = record.first + 0.4;
    record.prompt_tokens = 10;
    record.output_tokens = 5;
    log.requests.push_back(record);
    log.itls.insert(log.itls.end(), 4, 0.1f);
  }
  log.requests.back().code = 8;
  RunResult run = Measure(log, *Slo::Parse({"ttft:1000"}));
  run.offered_rate = 10;
  return run;
}

json Report(double ttft_s) {
  ReportHeader header;
  header.model = "tiny <script>";
  return MakeReport(header, {MakeRun(ttft_s), MakeRun(2 * ttft_s)});
}

TEST(ReportJsonTest, HasTheKeysOfVllmBench) {
  const json run = Report(0.1)["runs"][0];
  for (const char* key :
       {"duration",           "completed",       "total_input_tokens", "total_output_tokens",
        "request_throughput", "request_goodput", "output_throughput",  "total_token_throughput",
        "mean_ttft_ms",       "median_ttft_ms",  "std_ttft_ms",        "p99_ttft_ms",
        "mean_tpot_ms",       "median_tpot_ms",  "std_tpot_ms",        "p99_tpot_ms",
        "mean_itl_ms",        "median_itl_ms",   "std_itl_ms",         "p99_itl_ms",
        "mean_e2el_ms",       "p99_e2el_ms",     "request_rate",       "max_concurrency"}) {
    ASSERT_TRUE(run.contains(key)) << key;
    EXPECT_TRUE(run[key].is_number()) << key;
  }
}

TEST(ReportJsonTest, HoldsTheFigures) {
  const json run = Report(0.1)["runs"][0];
  EXPECT_EQ(run["completed"], 19);
  EXPECT_EQ(run["failed"], 1);
  EXPECT_EQ(run["codes"]["RESOURCE_EXHAUSTED"], 1);
  EXPECT_NEAR(run["mean_tpot_ms"].get<double>(), 100, 1e-6);
  EXPECT_EQ(run["cdf_ttft_ms"].size(), 101u);
  EXPECT_EQ(run["timeline"]["at_s"].size(), run["timeline"]["completed"].size());
}

TEST(ReportJsonTest, LeavesOutWhatHasNoSamples) {
  const json report = MakeReport(ReportHeader(), {Measure(RunLog(), Slo())});
  EXPECT_FALSE(report["runs"][0].contains("mean_ttft_ms"));
  EXPECT_FALSE(report["runs"][0].contains("decisions"));
}

TEST(ReportJsonTest, ReadsBackWhatItWrote) {
  const std::string path = testing::TempDir() + "/report.json";
  const json report = Report(0.1);
  ASSERT_TRUE(WriteFile(path, report.dump()).ok());
  const absl::StatusOr<json> read = ReadReport(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, report);
}

TEST(ReportJsonTest, RefusesOtherFiles) {
  const std::string path = testing::TempDir() + "/no_report.json";
  for (const char* text :
       {"", "{", "[]", "{}", R"({"schema": 1})", R"({"schema": "spade-loadtest/1", "runs": []})"}) {
    ASSERT_TRUE(WriteFile(path, text).ok());
    EXPECT_EQ(ReadReport(path).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(ReportTextTest, ComparisonSaysWhatIsBetter) {
  const std::string text = FormatComparison(Report(0.2), Report(0.1));
  const size_t line = text.find("median_ttft_ms");
  ASSERT_NE(line, std::string::npos);
  EXPECT_NE(text.substr(line, 80).find("-50.0 %  better"), std::string::npos) << text;
  EXPECT_EQ(FormatComparison(Report(0.1), Report(0.1)).find("worse"), std::string::npos);
}

TEST(ReportTextTest, ComparisonWarnsOfUnequalCaching) {
  const json cold = Report(0.1);
  json warm = cold;
  EXPECT_EQ(FormatComparison(cold, warm).find("Not comparable"), std::string::npos);
  warm["runs"][0]["total_cached_tokens"] = 100;
  EXPECT_NE(FormatComparison(cold, warm).find("Not comparable"), std::string::npos);
}

TEST(ReportTextTest, TableShowsPercentilesAndCodes) {
  const std::string text = FormatRun(MakeRun(0.1), Slo());
  EXPECT_NE(text.find("TPOT"), std::string::npos);
  EXPECT_NE(text.find("RESOURCE_EXHAUSTED 1"), std::string::npos);
}

TEST(ReportHtmlTest, IsSelfContainedAndEscaped) {
  const std::string html = MakeHtml({Report(0.1)}, {""});
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("tiny &lt;script&gt;"), std::string::npos);
  EXPECT_NE(html.find("Saturation"), std::string::npos);
}

TEST(ReportHtmlTest, SurvivesAnyJson) {
  const std::vector<json> reports = {
      json::parse(R"({"runs": [{"timeline": 3, "cdf_ttft_ms": ["x"]}, 5, null]})"), json()};
  EXPECT_NE(MakeHtml(reports, {"A", "B"}).find("</html>"), std::string::npos);
}

TEST(SvgPlotTest, DrawsNothingWithoutTwoPoints) {
  EXPECT_EQ(DrawPlot({"t", "x", "y", false, false, {{"s", {{1, 1}}, false}}}), "");
  EXPECT_EQ(DrawPlot({"t", "x", "y", true, false, {{"s", {{0, 1}, {-1, 2}}, false}}}), "");
}

TEST(SvgPlotTest, DrawsEveryPointInsideTheFrame) {
  const std::string svg =
      DrawPlot({"t", "x", "y", false, false, {{"s", {{0, 0}, {5, 10}, {10, 5}}, false}}});
  EXPECT_NE(svg.find("points='62.0,274.0 "), std::string::npos) << svg;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace spade::loadtest
