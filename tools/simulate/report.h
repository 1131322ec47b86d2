#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "tools/simulate/simulation.h"

namespace spade::simulate {

// What the runs have in common, in words.
struct ReportHeader {
  std::string model;
  std::string device;
  std::string workload;
  std::string exits;
  Goal goal;
};

std::string FormatTable(const ReportHeader& header, std::span<const Figures> runs);
nlohmann::json MakeJson(const ReportHeader& header, std::span<const Figures> runs);
// One page without outside references.
std::string MakeHtml(const ReportHeader& header, std::span<const Figures> runs);

}  // namespace spade::simulate
