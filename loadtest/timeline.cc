#include "loadtest/timeline.h"

#include <algorithm>
#include <cmath>

namespace spade::loadtest {
namespace {

constexpr double kTargetPoints = 100;

}  // namespace

double TimelineInterval(double duration_s) {
  return std::max(1.0, std::ceil(duration_s / kTargetPoints * 10)) / 10;
}

std::vector<TimelinePoint> MakeTimeline(const RunLog& log, double interval_s) {
  double end = 0;
  for (const RequestRecord& record : log.requests) end = std::max(end, record.end);
  if (log.requests.empty()) return {};
  std::vector<TimelinePoint> points(static_cast<size_t>(end / interval_s) + 1);
  std::vector<uint64_t> num_ttfts(points.size());
  std::vector<int64_t> running_change(points.size());
  const auto at = [&](double time) { return static_cast<size_t>(time / interval_s); };
  for (const RequestRecord& record : log.requests) {
    ++points[at(record.sent)].started;
    ++running_change[at(record.sent)];
    --running_change[at(record.end)];
    TimelinePoint& last = points[at(record.end)];
    ++(record.code == 0 ? last.completed : last.failed);
    last.output_tokens += record.output_tokens;
    if (record.first == 0) continue;
    points[at(record.first)].mean_ttft_ms += (record.first - record.sent) * 1e3;
    ++num_ttfts[at(record.first)];
  }
  int64_t running = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    points[i].at = static_cast<double>(i) * interval_s;
    running += running_change[i];
    points[i].running = static_cast<uint64_t>(running);
    if (num_ttfts[i] > 0) points[i].mean_ttft_ms /= static_cast<double>(num_ttfts[i]);
  }
  return points;
}

}  // namespace spade::loadtest
