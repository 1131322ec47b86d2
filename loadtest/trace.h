#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spade::loadtest {

struct TraceRow {
  double at = 0;  // seconds after the first row
  uint32_t input_len = 0;
  uint32_t output_len = 0;

  bool operator==(const TraceRow&) const = default;
};

// CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens, as the Azure LLM inference traces:
// "2023-11-16 18:15:46.6805900,374,44". Rows are sorted by time. INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<TraceRow>> ParseTrace(std::string_view csv);
absl::StatusOr<std::vector<TraceRow>> ReadTrace(const std::string& path);

// The largest factor, at most 1, with which every row's input and output fit in `max_context`.
double FittingScale(const std::vector<TraceRow>& rows, uint32_t max_context);

// Multiplies lengths by `scale` and times by 1 / `speed`; both lengths stay at least 1, and what
// still exceeds `max_context` (>= 2) is cut, the input first.
std::vector<TraceRow> ScaleTrace(std::vector<TraceRow> rows, double scale, double speed,
                                 uint32_t max_context);

}  // namespace spade::loadtest
