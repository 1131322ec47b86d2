#include "tools/simulate/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/simulate/fixture.h"

namespace spade::simulate {
namespace {

std::vector<Figures> Runs() {
  const StepCosts costs(testing::FlatCosts());
  const std::vector<Request> requests = testing::Requests(10, 1e-3, 8, 5);
  std::vector<Figures> runs;
  for (const char* policy : {"full", "ours"}) {
    runs.push_back(FiguresOf(policy, *SimulatePolicy(policy, {}, requests, {}, costs, {}), {}));
  }
  return runs;
}

const ReportHeader kHeader = {"a<b", "paper", "ten requests", "no exits", {}};

TEST(SimulateReportTest, TheTableHasALineForEachPolicy) {
  const std::string table = FormatTable(kHeader, Runs());
  EXPECT_NE(table.find("\nfull "), std::string::npos) << table;
  EXPECT_NE(table.find("\nours "), std::string::npos) << table;
}

TEST(SimulateReportTest, TheJsonHasTheFigures) {
  const nlohmann::json report = MakeJson(kHeader, Runs());
  EXPECT_EQ(report["runs"][1]["policy"], "ours");
  EXPECT_EQ(report["runs"][1]["completed"], 10);
  EXPECT_GT(report["runs"][0]["itl_ms"]["p95"], 1.9);
}

TEST(SimulateReportTest, ThePageIsWholeAndEscaped) {
  const std::string html = MakeHtml(kHeader, Runs());
  EXPECT_NE(html.find("a&lt;b"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_NE(html.find("<svg"), std::string::npos);
}

}  // namespace
}  // namespace spade::simulate
