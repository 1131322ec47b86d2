// Whether the simulator is to be believed: measures the costs of the real engine and sends it a
// trace, in turn, round after round; simulates the same trace with the medians of these costs, and
// prints it beside the medians of the engine's figures.

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
#include "tests/bench/median.h"
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

// Sequences that decode together to tell what steps cost beyond the model.
constexpr int32_t kFew = 1;
constexpr int32_t kMany = 32;

struct Options {
  RandomEngine engine = {.shape = "135m"};
  std::string exits;
  std::string costs;  // file to write
  bool only_measure = false;
  simulate::WorkloadOptions workload;
  double load = 0.7;
  double tolerance = 0.1;
  int32_t repeats = 5;
  int32_t rounds = 5;
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
  // What was measured in turn; an entry of each for a round.
  struct Rounds {
    std::vector<MeasuredCosts> costs;
    std::vector<double> few_gaps;  // between tokens of kFew sequences that decode together
    std::vector<double> many_gaps;
    std::vector<Figures> full;
    std::vector<Figures> ours;
  };

  absl::Status MeasureCosts();
  absl::StatusOr<double> MedianGap(int32_t batch);
  absl::Status SetOverhead();
  absl::StatusOr<double> SimulatedGap(int32_t batch) const;
  double Capacity(std::span<const Request> requests) const;
  absl::StatusOr<bool> ComparePolicy(const std::string& policy, std::span<const Figures> measured,
                                     std::span<const Request> requests) const;
  absl::StatusOr<RunRecord> Run(std::span<const Request> requests, ExitMode mode);

  const Options& options_;
  EngineOptions engine_options_;
  simulate::EngineShape shape_;
  ExitDepths depths_;
  Rounds rounds_;
  MeasuredCosts costs_;  // medians of the rounds so far
  prometheus::Registry registry_;
  EngineParts* parts_ = nullptr;  // the engine's: to be touched while it is idle
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
  parts_ = parts.get();
  engine_ = Engine::Create(engine_options_, std::move(parts), &registry_);
  return MeasureCosts();
}

absl::Status Check::MeasureCosts() {
  std::fprintf(stderr, "measuring stages ...\n");
  MeasuredCosts& measured =
      rounds_.costs.emplace_back(MeasureStages(engine_options_, *parts_, options_.repeats));
  measured.model = options_.engine.shape;
  SPADE_ASSIGN_OR_RETURN(rounds_.few_gaps.emplace_back(), MedianGap(kFew));
  SPADE_ASSIGN_OR_RETURN(rounds_.many_gaps.emplace_back(), MedianGap(kMany));
  return SetOverhead();
}

std::vector<Request> DecodingTogether(int32_t batch) {
  constexpr int32_t kTokens = 64;
  return {static_cast<size_t>(batch), Request{0, 16, kTokens}};
}

absl::StatusOr<double> Check::MedianGap(int32_t batch) {
  SPADE_ASSIGN_OR_RETURN(RunRecord record, Run(DecodingTogether(batch), ExitMode::kExact));
  return Median(std::move(record.gaps));
}

absl::StatusOr<double> Check::SimulatedGap(int32_t batch) const {
  SPADE_ASSIGN_OR_RETURN(RunRecord record, SimulatePolicy("full", {}, DecodingTogether(batch),
                                                          shape_, StepCosts(costs_), depths_));
  return Median(std::move(record.gaps));
}

// What steps of few and of many sequences take beyond the model's predicted time.
absl::Status Check::SetOverhead() {
  costs_ = MedianOf(rounds_.costs);
  SPADE_ASSIGN_OR_RETURN(const double few, SimulatedGap(kFew));
  SPADE_ASSIGN_OR_RETURN(const double many, SimulatedGap(kMany));
  const double rest_of_few = Median(rounds_.few_gaps) - few;
  const double rest_of_many = Median(rounds_.many_gaps) - many;
  costs_.row_seconds = std::max(0.0, (rest_of_many - rest_of_few) / (kMany - kFew));
  costs_.step_seconds = std::max(0.0, rest_of_few - costs_.row_seconds * kFew);
  return absl::OkStatus();
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
  for (int32_t round = 0; round < options_.rounds; ++round) {
    if (round > 0) SPADE_RETURN_IF_ERROR(MeasureCosts());
    std::fprintf(stderr, "round %d of %d ...\n", round + 1, options_.rounds);
    SPADE_ASSIGN_OR_RETURN(const RunRecord full, Run(requests, ExitMode::kExact));
    rounds_.full.push_back(FiguresOf("full", full, {}));
    SPADE_ASSIGN_OR_RETURN(const RunRecord ours, Run(requests, ExitMode::kFast));
    rounds_.ours.push_back(FiguresOf("ours-hold", ours, {}));
  }
  std::printf("%s, %s; %zu requests, %.2f a second; medians of %d rounds\n\n",
              options_.engine.shape.c_str(), costs_.device.c_str(), requests.size(), wanted,
              options_.rounds);
  std::printf("%-10s %-14s %12s %12s %12s\n", "policy", "", "engine", "simulated", "difference");
  SPADE_ASSIGN_OR_RETURN(const bool full, ComparePolicy("full", rounds_.full, requests));
  SPADE_ASSIGN_OR_RETURN(const bool ours, ComparePolicy("ours-hold", rounds_.ours, requests));
  return full && ours;
}

absl::StatusOr<bool> Check::ComparePolicy(const std::string& policy,
                                          std::span<const Figures> measured,
                                          std::span<const Request> requests) const {
  SPADE_ASSIGN_OR_RETURN(const RunRecord simulated_run,
                         SimulatePolicy(policy, {}, requests, shape_, StepCosts(costs_), depths_));
  const Figures simulated = FiguresOf(policy, simulated_run, {});
  struct Line {
    const char* name;
    double (*of)(const Figures&);
  };
  constexpr Line kLines[] = {
      {"tokens/s", [](const Figures& figures) { return figures.tokens_per_s; }},
      {"TTFT mean, ms", [](const Figures& figures) { return figures.ttft.mean; }},
      {"TTFT p50, ms", [](const Figures& figures) { return figures.ttft.median(); }},
      {"TTFT p95, ms", [](const Figures& figures) { return figures.ttft.percentiles[3]; }},
      {"gap mean, ms", [](const Figures& figures) { return figures.gap.mean; }},
      {"gap p50, ms", [](const Figures& figures) { return figures.gap.median(); }},
      {"gap p95, ms", [](const Figures& figures) { return figures.gap.percentiles[3]; }},
  };
  bool within = true;
  for (const Line& line : kLines) {
    std::vector<double> rounds;
    for (const Figures& figures : measured) rounds.push_back(line.of(figures));
    const double engine = Median(std::move(rounds));
    const double difference = Difference(engine, line.of(simulated));
    within &= std::abs(difference) <= options_.tolerance;
    std::printf("%-10s %-14s %12.2f %12.2f %+11.1f%%\n", policy.c_str(), line.name, engine,
                line.of(simulated), 100 * difference);
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
  app.add_option("--rounds", options.rounds, "of costs and traces, in turn")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--repeats", options.repeats, "of each measured cost in a round")
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
