#include "loadtest/report_json.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace spade::loadtest {
namespace {

using nlohmann::json;

// mean_ttft_ms, median_ttft_ms, ..., p99.9_ttft_ms; nothing without samples.
void AddSummary(json& out, const std::string& name, const Summary& summary) {
  if (summary.count == 0) return;
  out["num_" + name] = summary.count;
  out["mean_" + name + "_ms"] = summary.mean;
  out["std_" + name + "_ms"] = summary.stddev;
  out["min_" + name + "_ms"] = summary.min;
  out["median_" + name + "_ms"] = summary.median();
  out["max_" + name + "_ms"] = summary.max;
  for (size_t i = 0; i < kReportedPercentiles.size(); ++i) {
    out[absl::StrCat("p", kReportedPercentiles[i], "_", name, "_ms")] = summary.percentiles[i];
  }
  out["cdf_" + name + "_ms"] = summary.cdf;
}

void AddLatencies(json& out, const Latencies& latencies) {
  AddSummary(out, "ttft", latencies.ttft);
  AddSummary(out, "tpot", latencies.tpot);
  AddSummary(out, "itl", latencies.itl);
  AddSummary(out, "e2el", latencies.e2el);
}

json MakeTimeline(const RunResult& run) {
  json out = {{"interval_s", run.timeline_interval_s}};
  for (const char* key :
       {"at_s", "started", "completed", "failed", "running", "output_tokens", "mean_ttft_ms"}) {
    out[key] = json::array();
  }
  for (const TimelinePoint& point : run.timeline) {
    out["at_s"].push_back(point.at);
    out["started"].push_back(point.started);
    out["completed"].push_back(point.completed);
    out["failed"].push_back(point.failed);
    out["running"].push_back(point.running);
    out["output_tokens"].push_back(point.output_tokens);
    out["mean_ttft_ms"].push_back(point.mean_ttft_ms);
  }
  return out;
}

json MakeDecisions(const DecideMetrics& metrics) {
  json out = {{"count", metrics.count},
              {"mean_exit_layer", metrics.mean_exit_layer},
              {"mean_compute_saved", metrics.mean_compute_saved},
              {"early", metrics.num_early},
              {"corrected", metrics.num_corrected}};
  if (metrics.num_labelled > 0) out["accuracy"] = metrics.accuracy;
  return out;
}

json MakeRun(const RunResult& run) {
  json out = {{"request_rate", run.offered_rate},
              {"max_concurrency", run.concurrency},
              {"duration", run.duration_s},
              {"completed", run.completed},
              {"failed", run.failed},
              {"total_input_tokens", run.input_tokens},
              {"total_cached_tokens", run.cached_tokens},
              {"total_output_tokens", run.output_tokens},
              {"request_throughput", run.request_throughput()},
              {"output_throughput", run.output_throughput()},
              {"total_token_throughput", run.total_token_throughput()},
              {"codes", run.codes},
              {"codes_by_fault", run.codes_by_fault},
              {"unexpected_codes", run.unexpected_codes},
              {"broken_streams", run.broken_streams},
              {"stuck_streams", run.stuck_streams},
              {"problems", run.problems},
              {"client_cpu_s", run.client_cpu_s},
              {"timeline", MakeTimeline(run)}};
  if (run.has_slo) out["request_goodput"] = run.request_goodput();
  AddLatencies(out, run.all);
  AddSummary(out, "send_lag", run.send_lag_ms);
  if (run.decisions.count == 0) return out;
  out["decisions"] = MakeDecisions(run.decisions);
  if (run.generate.ttft.count == 0) return out;
  AddLatencies(out["generate"], run.generate);
  AddLatencies(out["decide"], run.decide);
  return out;
}

}  // namespace

json MakeReport(const ReportHeader& header, const std::vector<RunResult>& runs) {
  json out = {{"schema", kReportSchema},   {"date", header.date},
              {"command", header.command}, {"target", header.target},
              {"model", header.model},     {"server_version", header.server_version},
              {"device", header.device},   {"workload", header.workload},
              {"runs", json::array()}};
  for (const RunResult& run : runs) out["runs"].push_back(MakeRun(run));
  return out;
}

absl::StatusOr<json> ReadReport(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open the report ", path));
  json report = json::parse(file, nullptr, /*allow_exceptions=*/false);
  const bool valid = report.is_object() && report.value("schema", json()) == kReportSchema &&
                     report.contains("runs") && report["runs"].is_array() &&
                     !report["runs"].empty();
  if (!valid) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no report of schema ", kReportSchema, "; write one with --json"));
  }
  return report;
}

}  // namespace spade::loadtest
