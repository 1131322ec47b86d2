#include "loadtest/session.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "loadtest/arrivals.h"
#include "loadtest/report_text.h"
#include "loadtest/trace.h"

namespace spade::loadtest {
namespace {

constexpr double kKeepsUp = 0.9;

std::vector<double> TraceArrivals(const Options& options, const Workload& workload) {
  std::vector<double> times;
  for (const TraceRow& row : workload.options().trace) {
    const bool enough = options.num_requests > 0 && times.size() >= options.num_requests;
    if (enough || (options.duration_s > 0 && row.at > options.duration_s)) break;
    times.push_back(row.at);
  }
  return times;
}

absl::Status WarmUp(const Options& options, const Workload& workload, const RunOptions& run) {
  if (options.num_warmups == 0) return absl::OkStatus();
  LoadPlan plan;
  plan.concurrency = 1;
  plan.num_requests = options.num_warmups;
  plan.first_index = uint64_t{1} << 40;  // none of the measured requests
  return RunLoad(workload, plan, run).status();
}

absl::StatusOr<std::vector<RunResult>> Sweep(const Options& options, const Workload& workload,
                                             const RunOptions& run_options) {
  std::vector<RunResult> runs;
  uint64_t first_index = 0;
  double rate = options.sweep.start_rate;
  std::fputs(FormatSweepHeader().c_str(), stdout);
  for (int step = 0; step < options.sweep.max_steps; ++step, rate *= options.sweep.factor) {
    const LoadPlan plan = MakePlan(options, workload, rate, first_index);
    first_index += plan.arrivals.size();
    absl::StatusOr<RunResult> run = RunLoad(workload, plan, run_options);
    if (!run.ok()) return run.status();
    std::fputs(FormatSweepLine(*run).c_str(), stdout);
    std::fflush(stdout);
    const bool saturated = IsSaturated(*run, options.slo);
    runs.push_back(*std::move(run));
    if (saturated) break;
  }
  return runs;
}

}  // namespace

absl::StatusOr<Workload> MakeWorkload(const Options& options, const ModelFacts& model) {
  if (!options.model.empty() && options.model != model.name) {
    return absl::InvalidArgumentError(
        absl::StrCat("the server serves the model '", model.name, "', not '", options.model, "'"));
  }
  WorkloadOptions workload = options.workload;
  if (!options.prompts_path.empty()) {
    absl::StatusOr<std::vector<DecidePrompt>> prompts = ReadDecidePrompts(options.prompts_path);
    if (!prompts.ok()) return prompts.status();
    workload.decide_prompts = *std::move(prompts);
  }
  if (!options.trace.path.empty()) {
    absl::StatusOr<std::vector<TraceRow>> rows = ReadTrace(options.trace.path);
    if (!rows.ok()) return rows.status();
    const double scale =
        options.trace.scale > 0 ? options.trace.scale : FittingScale(*rows, model.max_context);
    workload.trace = ScaleTrace(*std::move(rows), scale, options.trace.speed, model.max_context);
  }
  return Workload::Make(std::move(workload), model);
}

LoadPlan MakePlan(const Options& options, const Workload& workload, double rate,
                  uint64_t first_index) {
  LoadPlan plan;
  plan.first_index = first_index;
  plan.concurrency = options.concurrency;
  const WorkloadOptions& made = workload.options();
  if (rate > 0) {
    uint64_t count = options.num_requests > 0 ? options.num_requests : made.trace.size();
    if (options.duration_s > 0) count = static_cast<uint64_t>(std::ceil(rate * options.duration_s));
    plan.arrivals = MakeArrivals(count, rate, options.burstiness, made.seed + first_index);
    plan.offered_rate = rate;
  } else if (!made.trace.empty() && options.concurrency == 0) {
    plan.arrivals = TraceArrivals(options, workload);
    plan.offered_rate =
        static_cast<double>(plan.arrivals.size()) / std::max(plan.arrivals.back(), 1e-3);
  } else {
    plan.concurrency = std::max(plan.concurrency, 1);
    plan.num_requests = options.num_requests;
    plan.duration_s = options.duration_s;
    if (plan.num_requests == 0 && plan.duration_s == 0) plan.num_requests = made.trace.size();
  }
  return plan;
}

bool IsSaturated(const RunResult& run, const Slo& slo) {
  const uint64_t num_requests = run.completed + run.failed;
  const auto total = static_cast<double>(num_requests);
  const bool slow = run.request_throughput() < kKeepsUp * run.offered_rate;
  const bool bad = !slo.empty() && static_cast<double>(run.good) < kKeepsUp * total;
  return slow || bad;
}

absl::StatusOr<std::vector<RunResult>> RunAll(const Options& options, const Workload& workload) {
  RunOptions run_options{options.client, options.slo, !options.quiet};
  if (absl::Status status = WarmUp(options, workload, run_options); !status.ok()) return status;
  if (options.sweep.start_rate > 0) return Sweep(options, workload, run_options);
  const LoadPlan plan = MakePlan(options, workload, options.rate, /*first_index=*/0);
  absl::StatusOr<RunResult> run = RunLoad(workload, plan, run_options);
  if (!run.ok()) return run.status();
  std::fputs(FormatRun(*run, options.slo).c_str(), stdout);
  return std::vector<RunResult>{*std::move(run)};
}

std::string DescribeWorkload(const Options& options, const Workload& workload) {
  const WorkloadOptions& made = workload.options();
  std::string text;
  if (made.decide_share < 1) {
    const std::string lengths =
        made.trace.empty() ? absl::StrFormat("%.0f tokens in and %.0f out on average",
                                             made.input_lens.mean(), made.output_lens.mean())
                           : absl::StrCat("lengths of ", options.trace.path);
    absl::StrAppend(&text, "Generate, random prompts, ", lengths,
                    made.ignore_eos ? ", EOS ignored" : "", ". ");
  }
  if (made.decide_share > 0) {
    absl::StrAppend(&text, made.decide_share * 100, " % Decide, ", made.labels.size(),
                    " labels, prompts ",
                    options.prompts_path.empty() ? "of random tokens" : options.prompts_path, ". ");
  }
  return absl::StrCat(text, "Seed ", made.seed, made.chaos ? ", chaos" : "",
                      made.cold_salt.empty() ? "" : ", no shared prefixes", ".");
}

}  // namespace spade::loadtest
