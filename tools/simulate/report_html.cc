#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "loadtest/svg_plot.h"
#include "tools/simulate/report.h"

namespace spade::simulate {
namespace {

using loadtest::EscapeHtml;

constexpr char kHead[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>spade-simulate</title><style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8884; padding: .2rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
svg { width: 100%; border: 1px solid #8884; border-radius: 6px; }
svg text { font-size: 11px; fill: currentColor; } svg .title { font-size: 13px; font-weight: 600; }
svg .grid { stroke: #8883; } svg polyline { fill: none; stroke-width: 1.8; }
</style></head><body><h1>Scheduling policies, simulated</h1>
)";

void AppendRow(std::string& html, const char* cell, const std::vector<std::string>& cells) {
  html += "<tr>";
  for (const std::string& text : cells) {
    absl::StrAppend(&html, "<", cell, ">", EscapeHtml(text), "</", cell, ">");
  }
  html += "</tr>\n";
}

std::string Number(double value) { return absl::StrFormat("%.1f", value); }

std::string Table(std::span<const Figures> runs) {
  std::string html = "<table>\n";
  AppendRow(html, "th",
            {"policy", "req/s", "tokens/s", "good/s", "TTFT p50", "TTFT p95", "TTFT p99", "ITL p50",
             "ITL p95", "ITL p99", "rows a step", "early tokens", "layer-rows saved"});
  for (const Figures& run : runs) {
    AppendRow(
        html, "td",
        {run.policy, Number(run.requests_per_s), Number(run.tokens_per_s), Number(run.good_per_s),
         Number(run.ttft.percentiles[0]), Number(run.ttft.percentiles[3]),
         Number(run.ttft.percentiles[4]), Number(run.gap.percentiles[0]),
         Number(run.gap.percentiles[3]), Number(run.gap.percentiles[4]), Number(run.mean_rows),
         Number(100 * run.early_share) + " %", Number(100 * run.compute_saved) + " %"});
  }
  return html + "</table>\n";
}

std::string Distribution(std::span<const Figures> runs, const std::string& title,
                         loadtest::Summary Figures::*latency) {
  loadtest::Plot plot;
  plot.title = title;
  plot.x_label = "ms";
  plot.y_label = "% of them, at most";
  plot.log_x = true;
  for (const Figures& run : runs) {
    loadtest::Series series;
    series.name = run.policy;
    const loadtest::Summary& summary = run.*latency;
    for (size_t i = 0; i < summary.cdf.size(); ++i) {
      series.points.emplace_back(summary.cdf[i], static_cast<double>(i));
    }
    plot.series.push_back(std::move(series));
  }
  return DrawPlot(plot);
}

}  // namespace

std::string MakeHtml(const ReportHeader& header, std::span<const Figures> runs) {
  std::string html = kHead;
  absl::StrAppendFormat(&html,
                        "<p>%s on %s. %s. %s. A good request has its first token within %.0f ms "
                        "and then one every %.0f ms on average.</p>\n",
                        EscapeHtml(header.model), EscapeHtml(header.device),
                        EscapeHtml(header.workload), EscapeHtml(header.exits),
                        header.goal.ttft_seconds * 1e3, header.goal.tpot_seconds * 1e3);
  absl::StrAppend(&html, Table(runs), "<div class='plots'>",
                  Distribution(runs, "Time to first token", &Figures::ttft),
                  Distribution(runs, "Inter-token latency", &Figures::gap),
                  "</div></body></html>\n");
  return html;
}

}  // namespace spade::simulate
