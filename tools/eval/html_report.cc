#include "tools/eval/html_report.h"

#include <functional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/eval/svg_chart.h"

namespace spade {
namespace {

constexpr char kHead[] = R"(<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Early exit</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}code{font-size:.85em}
table{border-collapse:collapse;margin:.8rem 0}td,th{padding:.25rem .7rem;text-align:right;
border-bottom:1px solid #ddd}svg{width:100%;max-width:720px;font:12px system-ui,sans-serif;
fill:#333}svg .title{font-weight:600;font-size:13px}.grid{stroke:#e3e3e3}polyline{stroke-width:2}
.big{display:flex;gap:2.5rem;flex-wrap:wrap}.big b{display:block;font-size:1.7rem}
@media(prefers-color-scheme:dark){body{background:#181a1c;color:#ddd}svg{fill:#ccc}
.grid{stroke:#333}td,th{border-color:#333}}
</style></head><body>
)";

std::string Percent(double share) { return absl::StrFormat("%.2f%%", 100 * share); }

void Row(std::string& html, const char* cell, const std::vector<std::string>& cells) {
  html += "<tr>";
  for (const std::string& text : cells) {
    absl::StrAppend(&html, "<", cell, ">", EscapeHtml(text), "</", cell, ">");
  }
  html += "</tr>";
}

Chart LayerChart(const LayerTable& table, const std::string& title, double Quality::*value) {
  Chart chart{title, "layers run", "share of prompts", false, true, {}};
  const std::pair<const char*, Quality LayerRow::*> kReaders[] = {
      {"logit lens", &LayerRow::lens},
      {"SPADE, position kept", &LayerRow::kept},
      {"SPADE, position reset", &LayerRow::reset}};
  for (const auto& [name, reader] : kReaders) {
    ChartSeries series{name, {}, false};
    for (const LayerRow& row : table.rows)
      series.points.emplace_back(row.layer, row.*reader.*value);
    chart.series.push_back(std::move(series));
  }
  ChartSeries l_spade{"L-SPADE", {}, false};
  for (const LayerRow& row : table.rows) {
    if (row.l_spade) l_spade.points.emplace_back(row.layer, (*row.l_spade).*value);
  }
  if (!l_spade.points.empty()) chart.series.push_back(std::move(l_spade));
  return chart;
}

void AppendLayers(const LayerTable& table, std::string& html) {
  html += "<h2>What the layers know</h2>";
  html += RenderLineChart(LayerChart(table, "Agreement with full depth", &Quality::agreement));
  if (table.has_labels) {
    html += RenderLineChart(LayerChart(table, "Accuracy", &Quality::accuracy));
  }
  html += "<p>Accuracy / agreement with full depth.</p><table>";
  Row(html, "th", {"layer", "logit lens", "L-SPADE", "SPADE, kept", "SPADE, reset"});
  for (const LayerRow& row : table.rows) {
    std::vector<std::string> cells = {absl::StrCat(row.layer)};
    for (const std::optional<Quality>& quality : row.All()) {
      cells.push_back(
          quality ? absl::StrFormat("%.3f / %.3f", quality->accuracy, quality->agreement) : "-");
    }
    Row(html, "td", cells);
  }
  html += "</table>";
}

void AppendTradeOff(const Evaluation& evaluation, std::string& html) {
  Chart chart{"Compute saved against answers changed",
              "prompts whose answer changes",
              "layer-rows saved",
              true,
              true,
              {}};
  ChartSeries line{"one entropy threshold at every exit", {}, false};
  for (const TradePoint& point : evaluation.curve) {
    line.points.emplace_back(point.mismatch, point.saving);
  }
  ChartSeries certified{"certified thresholds", {}, true};
  for (const CertificateOutcome& outcome : evaluation.certificates) {
    certified.points.emplace_back(outcome.mismatch, outcome.replay.NetSaving());
  }
  ChartSeries oracle{"perfect gate", {{0, evaluation.oracle_saving}}, true};
  chart.series = {std::move(line), std::move(certified), std::move(oracle)};
  absl::StrAppend(&html, "<h2>Saving against mismatch</h2>", RenderLineChart(chart));
}

void AppendHistogram(const Evaluation& evaluation, std::string& html) {
  std::vector<std::string> parts;
  for (const int32_t layer : evaluation.exit_layers) {
    parts.push_back(absl::StrCat("left after ", layer));
  }
  parts.push_back("full depth");
  const auto prompts = static_cast<double>(evaluation.table.prompts);
  std::vector<ShareBar> bars;
  for (const CertificateOutcome& outcome : evaluation.certificates) {
    ShareBar bar{"certified " + absl::StrFormat("%g%%", 100 * outcome.certificate.max_mismatch),
                 {}};
    for (const int64_t exited : outcome.replay.exited)
      bar.shares.push_back(double(exited) / prompts);
    bar.shares.push_back(1 - double(outcome.replay.TotalExited()) / prompts);
    bars.push_back(std::move(bar));
  }
  absl::StrAppend(&html, "<h2>Where prompts leave</h2>",
                  RenderShareBars("Share of prompts by exit", parts, bars), "<table>");
  Row(html, "th",
      {"certified", "prompts that leave", "of them changed", "of all changed", "compute saved",
       "accuracy"});
  for (const CertificateOutcome& outcome : evaluation.certificates) {
    const auto exited = static_cast<double>(outcome.replay.TotalExited());
    Row(html, "td",
        {Percent(outcome.certificate.max_mismatch), Percent(exited / prompts),
         Percent(exited > 0 ? double(outcome.replay.TotalMismatched()) / exited : 0),
         Percent(outcome.mismatch), Percent(outcome.replay.NetSaving()),
         absl::StrFormat("%.4f", outcome.accuracy)});
  }
  html += "</table>";
}

// A batch's line over the whole range of thresholds, and its certified points.
Chart WallClockChart(const Evaluation& evaluation) {
  Chart chart{"Time saved against answers changed",
              "prompts whose answer changes",
              "time of full depth saved",
              true,
              true,
              {}};
  for (const auto& [clocks, suffix, markers] :
       {std::tuple{&evaluation.sweep_clock, "one threshold at every exit", false},
        std::tuple{&evaluation.wall_clock, "certified", true}}) {
    for (const WallClock& clock : *clocks) {
      const std::string name = absl::StrFormat("batch %d, %s", clock.batch, suffix);
      if (chart.series.empty() || chart.series.back().name != name) {
        chart.series.push_back({name, {}, markers});
      }
      chart.series.back().points.emplace_back(clock.mismatch,
                                              1 - clock.exit_seconds / clock.full_seconds);
    }
  }
  return chart;
}

void AppendWallClock(const Evaluation& evaluation, std::string& html) {
  if (evaluation.wall_clock.empty()) return;
  html += "<h2>Wall clock, measured here</h2>";
  html += RenderLineChart(WallClockChart(evaluation));
  html += "<table>";
  Row(html, "th", {"batch", "certified", "full depth", "with exits", "faster by"});
  for (const WallClock& clock : evaluation.wall_clock) {
    Row(html, "td",
        {absl::StrCat(clock.batch), Percent(clock.max_mismatch),
         absl::StrFormat("%.3f ms", 1e3 * clock.full_seconds),
         absl::StrFormat("%.3f ms", 1e3 * clock.exit_seconds),
         Percent(1 - clock.exit_seconds / clock.full_seconds)});
  }
  html += "</table>";
}

}  // namespace

std::string RenderHtml(const Evaluation& evaluation) {
  std::string html = kHead;
  absl::StrAppendFormat(
      &html,
      "<h1>Early exit of %s</h1><p>%d prompts of %s, %.1f rows on average. SPADE position %s.",
      EscapeHtml(evaluation.model), evaluation.table.prompts, EscapeHtml(evaluation.data),
      evaluation.mean_rows, evaluation.position == SpadePosition::kKept ? "kept" : "reset");
  if (!evaluation.calibration_id.empty()) {
    absl::StrAppend(&html, " Calibration <code>", evaluation.calibration_id, "</code>.");
  }
  absl::StrAppendFormat(
      &html,
      "</p><div class='big'><div><b>%.3f</b>accuracy at full depth</div><div><b>%s</b>compute a "
      "perfect gate saves, exits after every layer</div>",
      evaluation.table.full_accuracy, Percent(evaluation.oracle_saving_any_layer));
  if (!evaluation.calibration_id.empty()) {
    absl::StrAppend(&html, "<div><b>", Percent(evaluation.oracle_saving),
                    "</b>the same at the chosen exits</div>");
  }
  html += "</div>";
  if (!evaluation.certificates.empty()) AppendHistogram(evaluation, html);
  if (!evaluation.curve.empty()) AppendTradeOff(evaluation, html);
  AppendWallClock(evaluation, html);
  AppendLayers(evaluation.table, html);
  return html + "</body></html>\n";
}

}  // namespace spade
