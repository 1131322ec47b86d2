#include "loadtest/report_html.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "loadtest/svg_plot.h"

namespace spade::loadtest {
namespace {

using nlohmann::json;

constexpr char kHead[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>spade-loadtest</title><style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { opacity: .65; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8884; padding: .2rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
svg { width: 100%; border: 1px solid #8884; border-radius: 6px; }
svg text { font-size: 11px; fill: currentColor; } svg .title { font-size: 13px; font-weight: 600; }
svg .grid { stroke: #8883; } svg polyline { fill: none; stroke-width: 1.8; }
</style></head><body>
<h1>Load test</h1>
)";

struct Column {
  const char* title;
  const char* key;
};

constexpr std::array kColumns = {Column{"done", "completed"},
                                 Column{"failed", "failed"},
                                 Column{"req/s", "request_throughput"},
                                 Column{"good/s", "request_goodput"},
                                 Column{"out tok/s", "output_throughput"},
                                 Column{"TTFT p50", "median_ttft_ms"},
                                 Column{"TTFT p99", "p99_ttft_ms"},
                                 Column{"TPOT p50", "median_tpot_ms"},
                                 Column{"TPOT p99", "p99_tpot_ms"},
                                 Column{"ITL p50", "median_itl_ms"},
                                 Column{"ITL p99", "p99_itl_ms"},
                                 Column{"E2EL p50", "median_e2el_ms"},
                                 Column{"E2EL p99", "p99_e2el_ms"}};
constexpr std::array kLatencies = {
    Column{"Time to first token", "cdf_ttft_ms"}, Column{"Time per output token", "cdf_tpot_ms"},
    Column{"Inter-token latency", "cdf_itl_ms"}, Column{"End-to-end latency", "cdf_e2el_ms"}};
constexpr std::array kTimelines = {Column{"Completed requests per second", "completed"},
                                   Column{"Failed requests per second", "failed"},
                                   Column{"Running streams", "running"},
                                   Column{"Mean time to first token, ms", "mean_ttft_ms"}};

struct NamedRun {
  std::string name;
  const json* run;
};

const json& Member(const json& object, const std::string& key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

double Number(const json& object, const std::string& key) {
  const json& value = Member(object, key);
  return value.is_number() ? value.get<double>() : 0;
}

std::string Text(const json& object, const std::string& key) {
  const json& value = Member(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string RunName(const json& run) {
  const double rate = Number(run, "request_rate");
  if (rate > 0) return absl::StrFormat("%.4g req/s", rate);
  return absl::StrFormat("%.0f streams", Number(run, "max_concurrency"));
}

std::string MakeHeader(const json& report, const std::string& name) {
  std::string html = name.empty() ? "<dl>" : absl::StrCat("<h2>", EscapeHtml(name), "</h2><dl>");
  for (const char* key :
       {"date", "target", "model", "server_version", "device", "workload", "command"}) {
    absl::StrAppend(&html, "<dt>", key, "</dt><dd>", EscapeHtml(Text(report, key)), "</dd>\n");
  }
  return html + "</dl>\n";
}

std::string MakeTable(const std::vector<NamedRun>& runs) {
  std::string html = "<h2>Figures</h2><div class='scroll'><table><tr><th>run</th>";
  for (const Column& column : kColumns) absl::StrAppend(&html, "<th>", column.title, "</th>");
  html += "</tr>\n";
  for (const NamedRun& named : runs) {
    absl::StrAppend(&html, "<tr><td>", EscapeHtml(named.name), "</td>");
    for (const Column& column : kColumns) {
      const json& value = Member(*named.run, column.key);
      const std::string text = value.is_number_integer() ? absl::StrCat(value.get<int64_t>())
                               : value.is_number() ? absl::StrFormat("%.2f", value.get<double>())
                                                   : "";
      absl::StrAppend(&html, "<td>", text, "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</table></div><p>Latencies are in milliseconds.</p>\n";
}

Series ReadSeries(const std::string& name, const json& xs, const json& ys, double y_scale) {
  Series series{name, {}, false};
  if (!xs.is_array() || !ys.is_array() || xs.size() != ys.size()) return series;
  for (size_t i = 0; i < xs.size(); ++i) {
    if (!xs[i].is_number() || !ys[i].is_number()) continue;
    series.points.emplace_back(xs[i].get<double>(), ys[i].get<double>() * y_scale);
  }
  return series;
}

std::string DrawDistributions(const std::vector<NamedRun>& runs) {
  json percents = json::array();
  for (int i = 0; i <= 100; ++i) percents.push_back(i);
  std::string html;
  for (const Column& latency : kLatencies) {
    Plot plot{latency.title, "ms", "% of samples at most", true, false, {}};
    for (const NamedRun& named : runs) {
      plot.series.push_back(ReadSeries(named.name, Member(*named.run, latency.key), percents, 1));
    }
    html += DrawPlot(plot);
  }
  return html;
}

std::string DrawTimelines(const std::vector<NamedRun>& runs) {
  std::string html;
  for (const Column& kind : kTimelines) {
    Plot plot{kind.title, "seconds", "", false, false, {}};
    const bool is_rate = std::string(kind.title).ends_with("per second");
    for (const NamedRun& named : runs) {
      const json& timeline = Member(*named.run, "timeline");
      const double interval = Number(timeline, "interval_s");
      plot.series.push_back(ReadSeries(named.name, Member(timeline, "at_s"),
                                       Member(timeline, kind.key),
                                       is_rate && interval > 0 ? 1 / interval : 1));
    }
    html += DrawPlot(plot);
  }
  return html;
}

Series SweepSeries(const std::string& name, const json& runs, const char* key) {
  Series series{name, {}, false};
  for (const json& run : runs) {
    if (!Member(run, key).is_number()) continue;
    series.points.emplace_back(Number(run, "request_rate"), Number(run, key));
  }
  return series;
}

std::string DrawSweeps(const std::vector<json>& reports, const std::vector<std::string>& names) {
  Plot throughput{"Saturation: requests done and good", "offered req/s", "req/s", true, true, {}};
  Plot latency{"Saturation: time to first token", "offered req/s", "ms", true, true, {}};
  for (size_t i = 0; i < reports.size(); ++i) {
    const json& runs = Member(reports[i], "runs");
    if (runs.size() < 2 || Number(runs[0], "request_rate") <= 0) continue;
    const std::string prefix = names[i].empty() ? "" : names[i] + ": ";
    throughput.series.push_back(SweepSeries(prefix + "done", runs, "request_throughput"));
    Series good = SweepSeries(prefix + "good", runs, "request_goodput");
    if (!good.points.empty()) throughput.series.push_back(std::move(good));
    latency.series.push_back(SweepSeries(prefix + "p50", runs, "median_ttft_ms"));
    latency.series.push_back(SweepSeries(prefix + "p99", runs, "p99_ttft_ms"));
  }
  return DrawPlot(throughput) + DrawPlot(latency);
}

}  // namespace

std::string MakeHtml(const std::vector<json>& reports, const std::vector<std::string>& names) {
  std::string html = kHead;
  std::vector<NamedRun> runs;
  for (size_t i = 0; i < reports.size(); ++i) {
    html += MakeHeader(reports[i], names[i]);
    for (const json& run : Member(reports[i], "runs")) {
      runs.push_back(
          {names[i].empty() ? RunName(run) : absl::StrCat(names[i], ", ", RunName(run)), &run});
    }
  }
  html += MakeTable(runs);
  absl::StrAppend(&html, "<div class='plots'>\n", DrawSweeps(reports, names),
                  DrawDistributions(runs), DrawTimelines(runs), "</div></body></html>\n");
  return html;
}

}  // namespace spade::loadtest
