#include "tools/simulate/report.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace spade::simulate {
namespace {

using nlohmann::json;

constexpr size_t kP50 = 0;
constexpr size_t kP95 = 3;
constexpr size_t kP99 = 4;
static_assert(loadtest::kReportedPercentiles[kP50] == 50);
static_assert(loadtest::kReportedPercentiles[kP95] == 95);
static_assert(loadtest::kReportedPercentiles[kP99] == 99);

json ToJson(const loadtest::Summary& summary) {
  return {{"count", summary.count},           {"mean", summary.mean},
          {"p50", summary.percentiles[kP50]}, {"p95", summary.percentiles[kP95]},
          {"p99", summary.percentiles[kP99]}, {"cdf", summary.cdf}};
}

std::string Percentiles(const loadtest::Summary& summary) {
  return absl::StrFormat("%8.1f %8.1f %8.1f", summary.percentiles[kP50], summary.percentiles[kP95],
                         summary.percentiles[kP99]);
}

}  // namespace

std::string FormatTable(const ReportHeader& header, std::span<const Figures> runs) {
  std::string text = absl::StrFormat(
      "%s on %s; %s; %s\ngood: first token within %.0f ms, then %.0f ms a token\n\n", header.model,
      header.device, header.workload, header.exits, header.goal.ttft_seconds * 1e3,
      header.goal.tpot_seconds * 1e3);
  absl::StrAppendFormat(&text, "%-10s %8s %9s %8s  %26s  %26s %7s %6s %6s\n", "policy", "req/s",
                        "tokens/s", "good/s", "TTFT ms, p50  p95  p99", "gap ms, p50  p95  p99",
                        "rows", "early", "saved");
  for (const Figures& run : runs) {
    absl::StrAppendFormat(&text, "%-10s %8.2f %9.1f %8.2f  %s  %s %7.1f %5.1f%% %5.1f%%\n",
                          run.policy, run.requests_per_s, run.tokens_per_s, run.good_per_s,
                          Percentiles(run.ttft), Percentiles(run.gap), run.mean_rows,
                          100 * run.early_share, 100 * run.compute_saved);
  }
  for (const Figures& run : runs) {
    if (run.refused == 0) continue;
    absl::StrAppend(&text, run.policy, ": ", run.refused,
                    " requests exceed the KV cache: raise --kv-blocks\n");
  }
  return text;
}

json MakeJson(const ReportHeader& header, std::span<const Figures> runs) {
  json report = {{"schema", "spade-simulate/1"},
                 {"model", header.model},
                 {"device", header.device},
                 {"workload", header.workload},
                 {"exits", header.exits},
                 {"goal_ttft_ms", header.goal.ttft_seconds * 1e3},
                 {"goal_tpot_ms", header.goal.tpot_seconds * 1e3},
                 {"runs", json::array()}};
  for (const Figures& run : runs) {
    report["runs"].push_back({{"policy", run.policy},
                              {"completed", run.completed},
                              {"refused", run.refused},
                              {"duration_s", run.duration_s},
                              {"request_throughput", run.requests_per_s},
                              {"output_throughput", run.tokens_per_s},
                              {"request_goodput", run.good_per_s},
                              {"ttft_ms", ToJson(run.ttft)},
                              {"itl_ms", ToJson(run.gap)},
                              {"mean_rows", run.mean_rows},
                              {"early_share", run.early_share},
                              {"compute_saved", run.compute_saved},
                              {"simulated_per_wall_s", run.simulated_per_wall_s}});
  }
  return report;
}

}  // namespace spade::simulate
