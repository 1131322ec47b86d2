#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "loadtest/metrics.h"

namespace spade::loadtest {

// The table that ends a run.
std::string FormatRun(const RunResult& run, const Slo& slo);

// One line for each run of a sweep, under a header.
std::string FormatSweepHeader();
std::string FormatSweepLine(const RunResult& run);

// Two reports side by side, run by run: each figure, its relative change, and whether that is
// better or worse.
std::string FormatComparison(const nlohmann::json& a, const nlohmann::json& b);

}  // namespace spade::loadtest
