#include "loadtest/metrics.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "loadtest/timeline.h"

namespace spade::loadtest {
namespace {

constexpr std::array<const char*, 17> kCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

double TtftMs(const RequestRecord& record) { return (record.first - record.sent) * 1e3; }
double E2elMs(const RequestRecord& record) { return (record.last - record.sent) * 1e3; }

template <typename Keep>
Latencies MeasureLatencies(const RunLog& log, Keep keep) {
  std::vector<double> ttft;
  std::vector<double> tpot;
  std::vector<double> e2el;
  for (const RequestRecord& record : log.requests) {
    if (record.code != 0 || record.fault == Fault::kSlowReader || !keep(record)) continue;
    ttft.push_back(TtftMs(record));
    e2el.push_back(E2elMs(record));
    if (record.output_tokens > 1) tpot.push_back(TpotMs(record));
  }
  Latencies latencies;
  latencies.ttft = Summarize(std::move(ttft));
  latencies.tpot = Summarize(std::move(tpot));
  latencies.e2el = Summarize(std::move(e2el));
  return latencies;
}

Summary MeasureItl(const RunLog& log) {
  std::vector<double> itl_ms(log.itls.begin(), log.itls.end());
  for (double& itl : itl_ms) itl *= 1e3;
  return Summarize(std::move(itl_ms));
}

DecideMetrics MeasureDecisions(const RunLog& log) {
  DecideMetrics metrics;
  for (const RequestRecord& record : log.requests) {
    if (record.kind != Kind::kDecide || record.code != 0) continue;
    ++metrics.count;
    metrics.num_labelled += record.correct >= 0;
    metrics.accuracy += record.correct == 1;
    metrics.mean_exit_layer += record.exit_layer;
    metrics.mean_compute_saved += record.compute_saved;
    metrics.num_early += record.early;
    metrics.num_corrected += record.corrected;
  }
  const auto count = static_cast<double>(std::max<uint64_t>(metrics.count, 1));
  metrics.mean_exit_layer /= count;
  metrics.mean_compute_saved /= count;
  metrics.accuracy /= static_cast<double>(std::max<uint64_t>(metrics.num_labelled, 1));
  return metrics;
}

void Count(const RunLog& log, const Slo& slo, RunResult& result) {
  std::vector<double> lag_ms;
  double start = 0;
  double end = 0;
  for (const RequestRecord& record : log.requests) {
    start = lag_ms.empty() ? record.sent : std::min(start, record.sent);
    end = std::max(end, record.end);
    lag_ms.push_back((record.sent - record.due) * 1e3);
    const std::string code = CodeName(record.code);
    ++result.codes[code];
    std::string fault(FaultName(record.fault));
    if (record.fault == Fault::kInvalid) {
      absl::StrAppend(&fault, ": ", std::string(InvalidRequestName(record.invalid)));
    }
    ++result.codes_by_fault[fault][code];
    if (record.code != 0) {
      ++result.failed;
      continue;
    }
    ++result.completed;
    result.good += IsGood(record, slo);
    result.input_tokens += record.prompt_tokens;
    result.cached_tokens += record.cached_tokens;
    result.output_tokens += record.output_tokens;
  }
  result.duration_s = end - start;
  result.send_lag_ms = Summarize(std::move(lag_ms));
}

}  // namespace

absl::StatusOr<Slo> Slo::Parse(const std::vector<std::string>& entries) {
  Slo slo;
  for (const std::string& entry : entries) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(entry, absl::MaxSplits(':', 1));
    double ms = 0;
    std::optional<double>* bound = parts.first == "ttft"   ? &slo.ttft_ms
                                   : parts.first == "tpot" ? &slo.tpot_ms
                                   : parts.first == "e2el" ? &slo.e2el_ms
                                                           : nullptr;
    if (!bound || *bound || !absl::SimpleAtod(parts.second, &ms) || !(ms >= 0)) {
      return absl::InvalidArgumentError(
          absl::StrCat("goodput '", entry, "': write ttft:MS, tpot:MS or e2el:MS, each once"));
    }
    *bound = ms;
  }
  return slo;
}

std::string CodeName(int code) {
  if (code < 0 || code >= static_cast<int>(kCodeNames.size())) return absl::StrCat("CODE_", code);
  return kCodeNames[static_cast<size_t>(code)];
}

double TpotMs(const RequestRecord& record) {
  if (record.output_tokens <= 1) return 0;
  return (record.last - record.first) * 1e3 / (record.output_tokens - 1);
}

bool IsGood(const RequestRecord& record, const Slo& slo) {
  return record.code == 0 && (!slo.ttft_ms || TtftMs(record) <= *slo.ttft_ms) &&
         (!slo.tpot_ms || TpotMs(record) <= *slo.tpot_ms) &&
         (!slo.e2el_ms || E2elMs(record) <= *slo.e2el_ms);
}

RunResult Measure(const RunLog& log, const Slo& slo) {
  RunResult result;
  result.has_slo = !slo.empty();
  Count(log, slo, result);
  result.all = MeasureLatencies(log, [](const RequestRecord&) { return true; });
  result.generate =
      MeasureLatencies(log, [](const RequestRecord& r) { return r.kind == Kind::kGenerate; });
  result.decide =
      MeasureLatencies(log, [](const RequestRecord& r) { return r.kind == Kind::kDecide; });
  result.all.itl = result.generate.itl = MeasureItl(log);
  result.decisions = MeasureDecisions(log);
  result.timeline_interval_s = TimelineInterval(result.duration_s);
  result.timeline = MakeTimeline(log, result.timeline_interval_s);
  result.unexpected_codes = log.unexpected_codes;
  result.broken_streams = log.broken_streams;
  result.problems = log.problems;
  return result;
}

}  // namespace spade::loadtest
