#pragma once

#include <vector>

#include "loadtest/metrics.h"
#include "loadtest/run_log.h"

namespace spade::loadtest {

// Whole tenths of seconds, such that a run makes about a hundred points.
double TimelineInterval(double duration_s);

std::vector<TimelinePoint> MakeTimeline(const RunLog& log, double interval_s);

}  // namespace spade::loadtest
