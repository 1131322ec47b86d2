#include "loadtest/trace.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace spade::loadtest {
namespace {

constexpr uint32_t kMaxTokens = 1 << 24;

// "YYYY-MM-DD HH:MM:SS[.fraction]", also with a T between, as seconds since 1970.
std::optional<double> ParseTimestamp(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::ByAnyChar("-:T "));
  if (parts.size() != 6) return std::nullopt;
  int field[5];
  for (int i = 0; i < 5; ++i) {
    if (!absl::SimpleAtoi(parts[i], &field[i])) return std::nullopt;
  }
  double seconds = 0;
  if (!absl::SimpleAtod(parts[5], &seconds) || !(seconds >= 0 && seconds < 61)) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(field[0]),
                                         std::chrono::month(static_cast<unsigned>(field[1])),
                                         std::chrono::day(static_cast<unsigned>(field[2]))};
  if (!date.ok() || field[3] < 0 || field[3] > 23 || field[4] < 0 || field[4] > 59) {
    return std::nullopt;
  }
  const double days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + field[3]) * 60 + field[4]) * 60 + seconds;
}

std::optional<TraceRow> ParseRow(absl::string_view line) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
  if (fields.size() != 3) return std::nullopt;
  const std::optional<double> at = ParseTimestamp(fields[0]);
  TraceRow row;
  if (!at || !absl::SimpleAtoi(fields[1], &row.input_len) ||
      !absl::SimpleAtoi(fields[2], &row.output_len) || row.input_len > kMaxTokens ||
      row.output_len > kMaxTokens) {
    return std::nullopt;
  }
  row.at = *at;
  return row;
}

uint32_t ScaleLength(uint32_t length, double scale) {
  const double scaled = std::floor(length * scale);
  return static_cast<uint32_t>(std::clamp(scaled, 1.0, static_cast<double>(kMaxTokens)));
}

}  // namespace

absl::StatusOr<std::vector<TraceRow>> ParseTrace(std::string_view csv) {
  std::vector<TraceRow> rows;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(absl::string_view(csv.data(), csv.size()), '\n')) {
    line = absl::StripSuffix(line, "\r");
    ++line_number;
    if (line.empty() || (line_number == 1 && absl::StartsWith(line, "TIMESTAMP"))) continue;
    const std::optional<TraceRow> row = ParseRow(line);
    if (!row) {
      return absl::InvalidArgumentError(
          absl::StrCat("trace line ", line_number, ": '", line.substr(0, 80),
                       "' is not TIMESTAMP,ContextTokens,GeneratedTokens"));
    }
    rows.push_back(*row);
  }
  if (rows.empty()) return absl::InvalidArgumentError("the trace has no rows");
  std::stable_sort(rows.begin(), rows.end(),
                   [](const TraceRow& a, const TraceRow& b) { return a.at < b.at; });
  const double start = rows.front().at;
  for (TraceRow& row : rows) row.at -= start;
  return rows;
}

absl::StatusOr<std::vector<TraceRow>> ReadTrace(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open the trace ", path));
  std::ostringstream text;
  text << file.rdbuf();
  return ParseTrace(text.str());
}

double FittingScale(const std::vector<TraceRow>& rows, uint32_t max_context) {
  uint64_t longest = 1;
  for (const TraceRow& row : rows) {
    longest = std::max<uint64_t>(longest, uint64_t{row.input_len} + row.output_len);
  }
  return std::min(1.0, static_cast<double>(max_context) / static_cast<double>(longest));
}

std::vector<TraceRow> ScaleTrace(std::vector<TraceRow> rows, double scale, double speed,
                                 uint32_t max_context) {
  for (TraceRow& row : rows) {
    row.at /= speed;
    row.output_len = std::min(ScaleLength(row.output_len, scale), max_context - 1);
    row.input_len = std::min(ScaleLength(row.input_len, scale), max_context - row.output_len);
  }
  return rows;
}

}  // namespace spade::loadtest
