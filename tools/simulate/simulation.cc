#include "tools/simulate/simulation.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"
#include "tools/simulate/climb_policy.h"
#include "tools/simulate/rebatch_policy.h"

namespace spade::simulate {
namespace {

constexpr double kMilli = 1e3;

std::unique_ptr<Policy> MakePolicy(const std::string& name, const PolicyOptions& options,
                                   const EngineShape& shape, const StepCosts& costs) {
  using Exits = ClimbPolicy::Exits;
  if (name == "full") return std::make_unique<ClimbPolicy>(Exits::kNone, &costs);
  if (name == "grouped") return std::make_unique<ClimbPolicy>(Exits::kGrouped, &costs);
  if (name == "ours") return std::make_unique<ClimbPolicy>(Exits::kAtOnce, &costs);
  RebatchOptions rebatch;
  rebatch.copies_state = name == "drex";
  rebatch.max_in_row = shape.max_in_row;
  rebatch.hold = {options.longest_wait, name == "drex" ? options.drex_batch : 0};
  if (name == "drex" || name == "ours-hold") {
    return std::make_unique<RebatchPolicy>(rebatch, &costs);
  }
  return nullptr;
}

std::vector<double> InMilliseconds(std::vector<double> seconds) {
  for (double& value : seconds) value *= kMilli;
  return seconds;
}

bool IsGood(const RequestRecord& request, const Goal& goal) {
  if (request.first < 0 || request.first - request.arrival > goal.ttft_seconds) return false;
  const double rest = request.last - request.first;
  return request.tokens < 2 || rest <= goal.tpot_seconds * (request.tokens - 1);
}

}  // namespace

RunRecord Simulate(Policy& policy, std::span<const Request> requests, const EngineShape& shape,
                   const StepCosts& costs, const ExitDepths& depths) {
  Fleet fleet(requests, shape, &costs, &depths);
  double now = 0;
  while (true) {
    fleet.Arrive(now);
    if (fleet.done()) return std::move(fleet.record());
    const double seconds = policy.Turn(fleet, now);
    if (seconds > 0) {
      now += seconds;
      continue;
    }
    // Nothing runs and nothing more comes: a policy lost a request.
    SPADE_CHECK(fleet.done() || fleet.next_arrival() < 1e300);
    now = std::max(now, fleet.next_arrival());
  }
}

Figures FiguresOf(const std::string& policy, const RunRecord& record, const Goal& goal) {
  Figures figures;
  figures.policy = policy;
  figures.refused = record.refused;
  std::vector<double> ttft;
  int64_t tokens = 0;
  int64_t good = 0;
  for (const RequestRecord& request : record.requests) {
    if (request.first < 0) continue;
    ++figures.completed;
    tokens += request.tokens;
    good += IsGood(request, goal) ? 1 : 0;
    ttft.push_back(request.first - request.arrival);
  }
  figures.duration_s = record.requests.empty() ? 0 : record.end - record.requests[0].arrival;
  if (figures.duration_s > 0) {
    figures.requests_per_s = static_cast<double>(figures.completed) / figures.duration_s;
    figures.tokens_per_s = static_cast<double>(tokens) / figures.duration_s;
    figures.good_per_s = static_cast<double>(good) / figures.duration_s;
  }
  figures.ttft = loadtest::Summarize(InMilliseconds(std::move(ttft)));
  figures.gap = loadtest::Summarize(InMilliseconds(record.gaps));
  if (record.steps > 0) figures.mean_rows = static_cast<double>(record.rows) / record.steps;
  if (tokens > 0) figures.early_share = static_cast<double>(record.early_tokens) / tokens;
  if (record.layer_rows_full > 0) {
    figures.compute_saved = 1 - record.layer_rows / record.layer_rows_full;
  }
  return figures;
}

std::vector<std::string> PolicyNames() { return {"full", "grouped", "drex", "ours", "ours-hold"}; }

absl::StatusOr<RunRecord> SimulatePolicy(const std::string& name, const PolicyOptions& options,
                                         std::span<const Request> requests,
                                         const EngineShape& shape, const StepCosts& costs,
                                         const ExitDepths& depths) {
  const std::unique_ptr<Policy> policy = MakePolicy(name, options, shape, costs);
  if (policy == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy '", name, "' is none of ", absl::StrJoin(PolicyNames(), ", ")));
  }
  return Simulate(*policy, requests, shape, costs, depths);
}

}  // namespace spade::simulate
