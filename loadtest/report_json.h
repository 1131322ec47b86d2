#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/metrics.h"

namespace spade::loadtest {

// What a report says besides its runs.
struct ReportHeader {
  std::string date;     // ISO 8601, UTC
  std::string command;  // the command line
  std::string target;
  std::string model;
  std::string server_version;
  std::string device;
  std::string workload;  // one sentence
};

inline constexpr char kReportSchema[] = "spade-loadtest/1";

// The report: {"schema", "date", ..., "runs": [...]}. A run has the key names of `vllm bench serve`
// where it has the figure (completed, request_throughput, mean_ttft_ms, p99_itl_ms, ...).
nlohmann::json MakeReport(const ReportHeader& header, const std::vector<RunResult>& runs);

// INVALID_ARGUMENT if the file is no report.
absl::StatusOr<nlohmann::json> ReadReport(const std::string& path);

}  // namespace spade::loadtest
