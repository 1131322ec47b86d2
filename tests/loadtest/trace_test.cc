#include "loadtest/trace.h"

#include <gtest/gtest.h>

#include <string>

namespace spade::loadtest {
namespace {

constexpr char kHeader[] = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";

std::vector<TraceRow> ParseRows(const std::string& rows) {
  absl::StatusOr<std::vector<TraceRow>> parsed = ParseTrace(kHeader + rows);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : std::vector<TraceRow>();
}

TEST(ParseTraceTest, ReadsRowsRelativeToTheFirst) {
  const std::vector<TraceRow> rows = ParseRows(
      "2023-11-16 18:15:46.6805900,374,44\r\n"
      "2023-11-16 18:15:50.9951690,396,109");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], (TraceRow{0, 374, 44}));
  EXPECT_NEAR(rows[1].at, 4.314579, 1e-6);
  EXPECT_EQ(rows[1].input_len, 396u);
  EXPECT_EQ(rows[1].output_len, 109u);
}

TEST(ParseTraceTest, CountsAcrossMidnightAndMonths) {
  const std::vector<TraceRow> rows = ParseRows(
      "2024-02-29 23:59:59,1,1\n"
      "2024-03-01 00:00:01,1,1\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_NEAR(rows[1].at, 2, 1e-6);
}

TEST(ParseTraceTest, SortsByTime) {
  const std::vector<TraceRow> rows = ParseRows(
      "2024-01-01 00:00:05,5,1\n"
      "2024-01-01 00:00:01,1,1\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].input_len, 1u);
  EXPECT_NEAR(rows[1].at, 4, 1e-6);
}

TEST(ParseTraceTest, NamesTheLineThatIsWrong) {
  for (const char* row :
       {"2024-01-01 00:00:05,5", "2024-13-01 00:00:05,5,1", "2024-01-01 24:00:05,5,1",
        "2024-01-01 00:00:05,-5,1", "2024-01-01 00:00:05,5,99999999999", "yesterday,1,1",
        "2024-01-01 00:00:nan,1,1"}) {
    const absl::Status status =
        ParseTrace(std::string(kHeader) + "2024-01-01 00:00:01,1,1\n" + row).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row;
    EXPECT_NE(status.message().find("line 3"), absl::string_view::npos) << status;
  }
}

TEST(ParseTraceTest, RefusesAnEmptyTrace) {
  EXPECT_EQ(ParseTrace(kHeader).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ScaleTraceTest, FittingScaleMakesTheLongestRowFitExactly) {
  const std::vector<TraceRow> rows = {{0, 100, 20}, {1, 900, 100}};
  const double scale = FittingScale(rows, 250);
  EXPECT_DOUBLE_EQ(scale, 0.25);
  const std::vector<TraceRow> scaled = ScaleTrace(rows, scale, 1, 250);
  EXPECT_EQ(scaled[0], (TraceRow{0, 25, 5}));
  EXPECT_EQ(scaled[1], (TraceRow{1, 225, 25}));
}

TEST(ScaleTraceTest, NeverEnlarges) { EXPECT_DOUBLE_EQ(FittingScale({{0, 10, 2}}, 4096), 1); }

TEST(ScaleTraceTest, KeepsBothLengthsAtLeastOne) {
  const std::vector<TraceRow> scaled = ScaleTrace({{0, 3, 0}}, 0.01, 1, 100);
  EXPECT_EQ(scaled[0], (TraceRow{0, 1, 1}));
}

TEST(ScaleTraceTest, CutsWhatExceedsTheContext) {
  const std::vector<TraceRow> scaled = ScaleTrace({{0, 90, 30}, {0, 5, 500}}, 1, 1, 100);
  EXPECT_EQ(scaled[0], (TraceRow{0, 70, 30}));
  EXPECT_EQ(scaled[1], (TraceRow{0, 1, 99}));
}

TEST(ScaleTraceTest, SpeedDividesTimes) {
  EXPECT_DOUBLE_EQ(ScaleTrace({{12, 1, 1}}, 1, 4, 100)[0].at, 3);
}

}  // namespace
}  // namespace spade::loadtest
