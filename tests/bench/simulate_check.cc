// Whether the simulator is to be believed: measures the costs of the real engine, sends it a trace,
// simulates the same trace with these costs, and prints both beside each other.

#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "loadtest/write_file.h"
#include "tests/bench/cost_probe.h"
#include "tests/bench/forced_engine.h"
#include "tests/bench/random_engine.h"
#include "tests/bench/trace_run.h"
#include "tools/simulate/simulation.h"

namespace spade::bench {
namespace {

using simulate::ExitDepths;
using simulate::Figures;
using simulate::MeasuredCosts;
using simulate::Request;
using simulate::RunRecord;
using simulate::StepCosts;

struct Options {
  RandomEngine engine = {.shape = "135m"};
  std::string exits;
  std::string costs;  // file to write
  bool only_measure = false;
  simulate::WorkloadOptions workload;
  double load = 0.7;
  double tolerance = 0.1;
  int32_t repeats = 9;
};

double Difference(double measured, double simulated) {
  return measured > 0 ? simulated / measured - 1 : 0;
}

// The whole engine and what it was measured to take.
class Check {
 public:
  explicit Check(const Options& options)
      : options_(options), engine_options_(MakeEngineOptions(options.engine)) {
    engine_options_.prefix_cache = false;
    engine_options_.shadow_share = 0;
    shape_.max_rows = engine_options_.max_rows;
    shape_.max_sequences = engine_options_.max_sequences;
    shape_.block_size = engine_options_.block_size;
    shape_.max_in_row = MaxParked(engine_options_);
  }

  absl::Status Load();
  const MeasuredCosts& costs() const { return costs_; }
  // Whether all differences are within the tolerance.
  absl::StatusOr<bool> Compare();

 private:
  absl::Status MeasureOverhead();
  absl::StatusOr<double> StepSeconds(int32_t batch);
  double Capacity(std::span<const Request> requests) const;
  absl::StatusOr<bool> ComparePolicy(const std::string& policy, ExitMode mode,
                                     std::span<const Request> requests);
  absl::StatusOr<RunRecord> Run(std::span<const Request> requests, ExitMode mode);

  const Options& options_;
  EngineOptions engine_options_;
  simulate::EngineShape shape_;
  ExitDepths depths_;
  MeasuredCosts costs_;
  prometheus::Registry registry_;
  std::unique_ptr<Engine> engine_;
  int64_t num_sent_ = 0;    // sequences that the engine has had
  int64_t first_sent_ = 0;  // of them, before the trace that runs
};

absl::Status Check::Load() {
  SPADE_ASSIGN_OR_RETURN(depths_, ExitDepths::Parse(options_.exits, options_.workload.seed));
  constexpr int32_t kAnyDepth = 1 << 20;
  const auto depth = [this](const Sequence& sequence, int32_t position) {
    return depths_.LayersOf(static_cast<int64_t>(sequence.id) - first_sent_ - 1,
                            position + 1 - sequence.num_prompt(), kAnyDepth);
  };
  SPADE_ASSIGN_OR_RETURN(std::unique_ptr<EngineParts> parts,
                         LoadForcedParts(engine_options_, depths_.ExitLayers(kAnyDepth), depth));
  shape_.kv_blocks = parts->kv->num_blocks();
  std::fprintf(stderr, "measuring stages ...\n");
  costs_ = MeasureStages(engine_options_, *parts, options_.repeats);
  costs_.model = options_.engine.shape;
  engine_ = Engine::Create(engine_options_, std::move(parts), &registry_);
  return MeasureOverhead();
}

// What steps of few and of many sequences take beyond the model's predicted time.
absl::Status Check::MeasureOverhead() {
  constexpr int32_t kFew = 1;
  constexpr int32_t kMany = 32;
  double rest[2];
  for (const int32_t batch : {kFew, kMany}) {
    SPADE_ASSIGN_OR_RETURN(const double seconds, StepSeconds(batch));
    rest[batch == kMany ? 1 : 0] = seconds;
  }
  costs_.row_seconds = std::max(0.0, (rest[1] - rest[0]) / (kMany - kFew));
  costs_.step_seconds = std::max(0.0, rest[0] - costs_.row_seconds * kFew);
  return absl::OkStatus();
}

absl::StatusOr<double> Check::StepSeconds(int32_t batch) {
  constexpr int32_t kTokens = 64;
  const std::vector<Request> requests(static_cast<size_t>(batch), Request{0, 16, kTokens});
  SPADE_ASSIGN_OR_RETURN(const RunRecord measured, Run(requests, ExitMode::kExact));
  SPADE_ASSIGN_OR_RETURN(const RunRecord simulated,
                         SimulatePolicy("full", {}, requests, shape_, StepCosts(costs_), depths_));
  const auto median = [](std::vector<double> gaps) {
    std::ranges::nth_element(gaps, gaps.begin() + std::ssize(gaps) / 2);
    return gaps[gaps.size() / 2];
  };
  return median(measured.gaps) - median(simulated.gaps);
}

absl::StatusOr<RunRecord> Check::Run(std::span<const Request> requests, ExitMode mode) {
  first_sent_ = num_sent_;
  num_sent_ += std::ssize(requests);
  return RunTrace(*engine_, requests, mode);
}

// Requests a second that the engine would do with all there at once.
double Check::Capacity(std::span<const Request> requests) const {
  std::vector<Request> at_once(requests.begin(), requests.end());
  for (Request& request : at_once) request.arrival = 0;
  const StepCosts costs(costs_);
  const auto record = SimulatePolicy("full", {}, at_once, shape_, costs, depths_);
  return FiguresOf("full", *record, {}).requests_per_s;
}

absl::StatusOr<bool> Check::Compare() {
  SPADE_ASSIGN_OR_RETURN(std::vector<Request> requests, MakeWorkload(options_.workload));
  const double rate = static_cast<double>(requests.size()) / requests.back().arrival;
  const double wanted = options_.load * Capacity(requests);
  for (Request& request : requests) request.arrival *= rate / wanted;
  std::printf("%s, %s; %zu requests, %.2f a second\n\n", options_.engine.shape.c_str(),
              costs_.device.c_str(), requests.size(), wanted);
  std::printf("%-10s %-14s %12s %12s %12s\n", "policy", "", "engine", "simulated", "difference");
  SPADE_ASSIGN_OR_RETURN(const bool full, ComparePolicy("full", ExitMode::kExact, requests));
  SPADE_ASSIGN_OR_RETURN(const bool ours, ComparePolicy("ours-hold", ExitMode::kFast, requests));
  return full && ours;
}

absl::StatusOr<bool> Check::ComparePolicy(const std::string& policy, ExitMode mode,
                                          std::span<const Request> requests) {
  SPADE_ASSIGN_OR_RETURN(const RunRecord engine_run, Run(requests, mode));
  SPADE_ASSIGN_OR_RETURN(const RunRecord simulated_run,
                         SimulatePolicy(policy, {}, requests, shape_, StepCosts(costs_), depths_));
  const Figures engine = FiguresOf(policy, engine_run, {});
  const Figures simulated = FiguresOf(policy, simulated_run, {});
  struct Line {
    const char* name;
    double engine;
    double simulated;
  };
  const Line lines[] = {
      {"tokens/s", engine.tokens_per_s, simulated.tokens_per_s},
      {"TTFT mean, ms", engine.ttft.mean, simulated.ttft.mean},
      {"TTFT p50, ms", engine.ttft.median(), simulated.ttft.median()},
      {"TTFT p95, ms", engine.ttft.percentiles[3], simulated.ttft.percentiles[3]},
      {"gap mean, ms", engine.gap.mean, simulated.gap.mean},
      {"gap p50, ms", engine.gap.median(), simulated.gap.median()},
      {"gap p95, ms", engine.gap.percentiles[3], simulated.gap.percentiles[3]},
  };
  bool within = true;
  for (const Line& line : lines) {
    const double difference = Difference(line.engine, line.simulated);
    within &= std::abs(difference) <= options_.tolerance;
    std::printf("%-10s %-14s %12.2f %12.2f %+11.1f%%\n", policy.c_str(), line.name, line.engine,
                line.simulated, 100 * difference);
  }
  std::fflush(stdout);
  return within;
}

absl::StatusOr<bool> RunAll(Options options) {
  if (options.exits.empty()) options.exits = ExitMixOf(options.engine.shape);
  options.workload.max_context = 511;
  Check check(options);
  SPADE_RETURN_IF_ERROR(check.Load());
  if (!options.costs.empty()) {
    SPADE_RETURN_IF_ERROR(loadtest::WriteFile(options.costs, ToJson(check.costs()).dump(1) + "\n"));
  }
  if (options.only_measure) return true;
  return check.Compare();
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) {
  spade::bench::Options options;
  options.workload.requests = 120;
  CLI::App app("The simulator beside the engine; exit status 1 where they differ too much");
  AddFlags(app, options.engine);
  app.add_option("--exits", options.exits, "LAYER:SHARE,...; default: a mix for the shape");
  app.add_option("--costs", options.costs, "file for the measured costs, for spade-simulate");
  app.add_flag("--only-measure", options.only_measure, "the costs; no trace");
  app.add_option("--trace", options.workload.trace, "CSV; default: synthetic");
  app.add_option("--limit", options.workload.limit, "requests of the trace; 0: all");
  app.add_option("--requests", options.workload.requests, "synthetic ones")->capture_default_str();
  app.add_option("--prompt-len", options.workload.prompt_len)->capture_default_str();
  app.add_option("--output-len", options.workload.output_len)->capture_default_str();
  app.add_option("--load", options.load, "arrivals, of what full depth can do at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--tolerance", options.tolerance, "0.1: 10 %")->capture_default_str();
  app.add_option("--repeats", options.repeats, "of each measured cost")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::warn);
  const absl::StatusOr<bool> passed = spade::bench::RunAll(options);
  if (!passed.ok()) {
    std::fprintf(stderr, "simulate_check: %s\n", passed.status().ToString().c_str());
    return 2;
  }
  return *passed ? 0 : 1;
}
