#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace spade::loadtest {

// One page without outside references: a table, plots of the latencies' distributions, of the run
// over time, and of a sweep. Several reports are drawn into the same plots, under their names.
std::string MakeHtml(const std::vector<nlohmann::json>& reports,
                     const std::vector<std::string>& names);

}  // namespace spade::loadtest
