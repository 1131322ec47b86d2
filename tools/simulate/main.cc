// spade-simulate: what scheduling policies make of a trace, by measured costs and a clock of its
// own.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "loadtest/write_file.h"
#include "tools/simulate/options.h"
#include "tools/simulate/report.h"

namespace spade::simulate {
namespace {

using loadtest::WriteFile;

std::string Describe(const WorkloadOptions& options, const std::vector<Request>& requests) {
  double prompts = 0;
  double outputs = 0;
  for (const Request& request : requests) {
    prompts += request.prompt_len;
    outputs += request.output_len;
  }
  const auto count = static_cast<double>(requests.size());
  const double rate = count / std::max(requests.back().arrival, 1e-9);
  return absl::StrFormat(
      "%d requests%s, %.2f a second, %.0f prompt and %.0f output tokens on average",
      requests.size(), options.trace.empty() ? "" : " of " + options.trace, rate, prompts / count,
      outputs / count);
}

absl::StatusOr<Figures> RunPolicy(const std::string& name, const Options& options,
                                  const std::vector<Request>& requests, const StepCosts& costs,
                                  const ExitDepths& depths, const Goal& goal) {
  const auto begin = std::chrono::steady_clock::now();
  SPADE_ASSIGN_OR_RETURN(const RunRecord record, SimulatePolicy(name, options.policy, requests,
                                                                options.shape, costs, depths));
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Figures figures = FiguresOf(name, record, goal);
  figures.simulated_per_wall_s = figures.duration_s / wall;
  return figures;
}

absl::Status Run(const Options& options) {
  SPADE_ASSIGN_OR_RETURN(const MeasuredCosts measured, ReadCosts(options.costs));
  const StepCosts costs(measured);
  SPADE_ASSIGN_OR_RETURN(const ExitDepths depths,
                         options.depths.empty()
                             ? ExitDepths::Parse(options.exits, options.workload.seed)
                             : ExitDepths::Read(options.depths));
  SPADE_ASSIGN_OR_RETURN(const std::vector<Request> requests, MakeWorkload(options.workload));
  ReportHeader header;
  header.model = measured.model;
  header.device = measured.device;
  header.workload = Describe(options.workload, requests);
  header.exits = !options.depths.empty() ? "exits of " + options.depths
                 : options.exits.empty() ? "no exits"
                                         : "exits " + options.exits;
  header.goal = {options.goal_ttft_ms * 1e-3, options.goal_tpot_ms * 1e-3};
  std::vector<Figures> runs;
  for (const std::string& name : options.policies) {
    SPADE_ASSIGN_OR_RETURN(Figures figures,
                           RunPolicy(name, options, requests, costs, depths, header.goal));
    runs.push_back(std::move(figures));
  }
  std::fputs(FormatTable(header, runs).c_str(), stdout);
  if (!options.json.empty()) {
    SPADE_RETURN_IF_ERROR(WriteFile(options.json, MakeJson(header, runs).dump(1) + "\n"));
  }
  if (!options.html.empty()) {
    SPADE_RETURN_IF_ERROR(WriteFile(options.html, MakeHtml(header, runs)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace spade::simulate

int main(int argc, char** argv) {
  spade::simulate::Options options;
  CLI::App app("Replays a trace under several scheduling policies and compares them");
  AddOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = spade::simulate::Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "spade-simulate: %s\n", std::string(status.message()).c_str());
  return 1;
}
