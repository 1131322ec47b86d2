#include "loadtest/report_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"

namespace spade::loadtest {
namespace {

using nlohmann::json;

// Changes below this share are shown as equal.
constexpr double kNoise = 0.02;
// Runs whose cached shares of the prompts differ by more are not of the same work.
constexpr double kSameCaching = 0.02;

struct Figure {
  const char* key;
  bool more_is_better;
};

constexpr std::array kCompared = {Figure{"request_throughput", true},
                                  Figure{"request_goodput", true},
                                  Figure{"output_throughput", true},
                                  Figure{"total_token_throughput", true},
                                  Figure{"failed", false},
                                  Figure{"median_ttft_ms", false},
                                  Figure{"p90_ttft_ms", false},
                                  Figure{"p99_ttft_ms", false},
                                  Figure{"median_tpot_ms", false},
                                  Figure{"p99_tpot_ms", false},
                                  Figure{"median_itl_ms", false},
                                  Figure{"p99_itl_ms", false},
                                  Figure{"median_e2el_ms", false},
                                  Figure{"p99_e2el_ms", false}};

void AppendLatency(std::string& out, const char* name, const Summary& s) {
  if (s.count == 0) return;
  const auto& p = s.percentiles;
  absl::StrAppendFormat(&out, "%-10s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name,
                        s.mean, s.stddev, p[0], p[2], p[3], p[4], p[5], s.max);
}

void AppendCodes(std::string& out, const RunResult& run) {
  if (run.codes_by_fault.size() == 1 && run.failed == 0) return;
  out += "\nCodes\n";
  for (const auto& [fault, codes] : run.codes_by_fault) {
    absl::StrAppendFormat(&out, "  %-34s", fault);
    for (const auto& [code, count] : codes) absl::StrAppendFormat(&out, " %s %d", code, count);
    out += "\n";
  }
}

void AppendProblems(std::string& out, const RunResult& run) {
  if (run.clean()) return;
  absl::StrAppendFormat(&out,
                        "\nProblems: %d unexpected codes, %d broken streams, %d streams without a "
                        "status. The first:\n",
                        run.unexpected_codes, run.broken_streams, run.stuck_streams);
  for (const std::string& problem : run.problems) absl::StrAppendFormat(&out, "  %s\n", problem);
}

void AppendDecisions(std::string& out, const DecideMetrics& d) {
  if (d.count == 0) return;
  absl::StrAppendFormat(&out,
                        "Decisions %d: mean exit layer %.2f, compute saved %.1f %%, early answers "
                        "%d, corrected %d",
                        d.count, d.mean_exit_layer, d.mean_compute_saved * 100, d.num_early,
                        d.num_corrected);
  if (d.num_labelled > 0) absl::StrAppendFormat(&out, ", accuracy %.2f %%", d.accuracy * 100);
  out += "\n";
}

std::string Verdict(const Figure& figure, double before, double after) {
  const double change = before == 0 ? 0 : (after - before) / std::abs(before);
  if (before == 0) return after == 0 ? "" : "new";
  const std::string percent = absl::StrFormat("%+.1f %%", change * 100);
  if (std::abs(change) < kNoise) return percent;
  return percent + ((change > 0) == figure.more_is_better ? "  better" : "  worse");
}

double Number(const json& run, const char* key, double missing) {
  const auto found = run.find(key);
  return found != run.end() && found->is_number() ? found->get<double>() : missing;
}

double CachedShare(const json& run) {
  return Number(run, "total_cached_tokens", 0) /
         std::max(Number(run, "total_input_tokens", 0), 1.0);
}

void AppendCaching(std::string& out, const json& before, const json& after) {
  const double x = CachedShare(before);
  const double y = CachedShare(after);
  absl::StrAppendFormat(&out, "%-26s %14.3f %14.3f\n", "cached share of prompts", x, y);
  if (std::abs(x - y) <= kSameCaching) return;
  out += "Not comparable: more was cached in one of them; run both with --cold.\n";
}

std::string RunName(const json& run) {
  const double rate = Number(run, "request_rate", 0);
  if (rate > 0) return absl::StrFormat("%.4g req/s offered", rate);
  return absl::StrFormat("%.0f streams", Number(run, "max_concurrency", 0));
}

}  // namespace

std::string FormatRun(const RunResult& run, const Slo& slo) {
  std::string out = absl::StrFormat(
      "Completed %d, failed %d in %.2f s\n"
      "Requests  %.2f /s   output %.1f tok/s   total %.1f tok/s   (%d in, %d cached, %d out)\n",
      run.completed, run.failed, run.duration_s, run.request_throughput(), run.output_throughput(),
      run.total_token_throughput(), run.input_tokens, run.cached_tokens, run.output_tokens);
  if (!slo.empty()) {
    const double share = static_cast<double>(run.good) /
                         static_cast<double>(std::max<uint64_t>(run.completed + run.failed, 1));
    absl::StrAppendFormat(&out, "Goodput   %.2f /s   (%.2f %% of the requests met the SLO)\n",
                          run.request_goodput(), share * 100);
  }
  AppendDecisions(out, run.decisions);
  absl::StrAppendFormat(&out, "\n%-10s %9s %9s %9s %9s %9s %9s %9s %9s\n", "ms", "mean", "std",
                        "p50", "p90", "p95", "p99", "p99.9", "max");
  AppendLatency(out, "TTFT", run.all.ttft);
  AppendLatency(out, "TPOT", run.all.tpot);
  AppendLatency(out, "ITL", run.all.itl);
  AppendLatency(out, "E2EL", run.all.e2el);
  if (run.offered_rate > 0) AppendLatency(out, "send lag", run.send_lag_ms);
  AppendCodes(out, run);
  AppendProblems(out, run);
  return out;
}

std::string FormatSweepHeader() {
  return absl::StrFormat("%10s %10s %10s %12s %10s %10s %10s %10s %8s\n", "offered/s", "done/s",
                         "good/s", "out tok/s", "TTFT p50", "TTFT p99", "TPOT p50", "E2EL p99",
                         "failed");
}

std::string FormatSweepLine(const RunResult& run) {
  return absl::StrFormat("%10.2f %10.2f %10.2f %12.1f %10.2f %10.2f %10.2f %10.2f %8d\n",
                         run.offered_rate, run.request_throughput(), run.request_goodput(),
                         run.output_throughput(), run.all.ttft.median(), run.all.ttft.p99(),
                         run.all.tpot.median(), run.all.e2el.p99(), run.failed);
}

std::string FormatComparison(const json& a, const json& b) {
  std::string out;
  const size_t num_runs = std::min(a["runs"].size(), b["runs"].size());
  for (size_t i = 0; i < num_runs; ++i) {
    const json& before = a["runs"][i];
    const json& after = b["runs"][i];
    absl::StrAppendFormat(&out, "A: %s   B: %s\n%-26s %14s %14s\n", RunName(before), RunName(after),
                          "", "A", "B");
    for (const Figure& figure : kCompared) {
      const double x = Number(before, figure.key, -1);
      const double y = Number(after, figure.key, -1);
      if (x < 0 || y < 0) continue;
      absl::StrAppendFormat(&out, "%-26s %14.3f %14.3f   %s\n", figure.key, x, y,
                            Verdict(figure, x, y));
    }
    AppendCaching(out, before, after);
    out += "\n";
  }
  if (a["runs"].size() != b["runs"].size()) {
    absl::StrAppendFormat(&out, "A has %d runs, B has %d; the first %d are compared.\n",
                          a["runs"].size(), b["runs"].size(), num_runs);
  }
  return out;
}

}  // namespace spade::loadtest
