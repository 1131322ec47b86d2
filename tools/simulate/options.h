#pragma once

#include <string>
#include <vector>

#include "tools/simulate/simulation.h"
#include "tools/simulate/workload.h"

namespace CLI {
class App;
}

namespace spade::simulate {

struct Options {
  std::string costs;   // file
  std::string exits;   // as ExitDepths::Parse
  std::string depths;  // file, as ExitDepths::Read; in place of `exits`
  WorkloadOptions workload;
  EngineShape shape;
  std::vector<std::string> policies = {"full", "grouped", "drex", "ours", "ours-hold"};
  PolicyOptions policy;
  double goal_ttft_ms = 1000;
  double goal_tpot_ms = 100;
  std::string json;  // file; empty: none
  std::string html;
};

void AddOptions(CLI::App& app, Options& options);

}  // namespace spade::simulate
