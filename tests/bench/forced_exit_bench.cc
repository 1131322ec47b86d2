// How much of what the layers not run promise becomes throughput: exits forced to a mix of depths,
// FAST beside EXACT in turns on the same requests, through the whole engine on random weights; and
// what it adds that rows of generated tokens wait at exits for others.

#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "tests/bench/exit_run.h"
#include "tests/bench/forced_engine.h"
#include "tests/bench/median.h"
#include "tests/bench/random_engine.h"
#include "tools/simulate/exit_depths.h"

namespace spade::bench {
namespace {

struct Options {
  RandomEngine engine = {.shape = "1.1b"};
  std::string exits;
  int32_t in_flight = 32;
  int32_t requests = 64;
  int32_t prompt = 128;
  int32_t tokens = 32;
  int32_t repeats = 5;
  double max_hold = HoldOptions{}.longest_wait;
};

class Bench {
 public:
  Bench(const Options& options, std::vector<int32_t> exit_layers,
        const simulate::ExitDepths* depths)
      : options_(options), exits_(std::move(exit_layers)), depths_(*depths) {}
  // Rows wait in one engine (HoldOptions) and not in the other.
  absl::Status MakeEngines();

  enum class Kind { kDecide, kGenerate };
  void Report(const char* name, Kind kind);

 private:
  struct Engines {
    prometheus::Registry registry;
    std::unique_ptr<Engine> engine;
  };
  absl::Status MakeEngine(double longest_wait, Engines* made) const;
  double Run(Engine& engine, Kind kind, ExitMode mode, std::vector<Reply>* replies);
  std::vector<TokenId> Prompt(int32_t i) const;
  double NumHeld() const;

  const Options& options_;
  Engines waits_;
  Engines at_once_;
  const std::vector<int32_t> exits_;
  const simulate::ExitDepths& depths_;
};

std::vector<TokenId> Bench::Prompt(int32_t i) const {
  std::vector<TokenId> prompt = {0};
  for (int32_t k = 1; k < options_.prompt; ++k) prompt.push_back(2 + (i * 131 + k * 7) % 200);
  return prompt;
}

// What makes a decision leave at its exit; 0: at none.
double Bound(const simulate::ExitDepths& depths, const std::vector<int32_t>& exits,
             int32_t num_layers, int32_t i) {
  const auto exit = std::ranges::find(exits, depths.LayersOf(i, 0, num_layers));
  return exit == exits.end() ? 0
                             : kForcedMismatch * (1.5 + static_cast<double>(exit - exits.begin()));
}

double Bench::Run(Engine& engine, Kind kind, ExitMode mode, std::vector<Reply>* replies) {
  ExitRun run(&engine, options_.in_flight);
  if (kind == Kind::kDecide) {
    const auto decide = [&](int32_t i) {
      DecideRequest request;
      request.context.prompt = Prompt(i);
      request.labels.assign(std::begin(kForcedLabels), std::end(kForcedLabels));
      const double bound = Bound(depths_, exits_, engine.info().config.num_layers, i);
      request.mode = bound > 0 ? mode : ExitMode::kExact;
      request.max_mismatch = request.mode == ExitMode::kFast ? bound : 0;
      return request;
    };
    return run.Decide(options_.requests, decide, replies);
  }
  const auto generate = [&](int32_t i) {
    return ForcedGeneration(Prompt(i), options_.tokens, mode);
  };
  return run.Generate(options_.requests, generate, replies);
}

void Bench::Report(const char* name, Kind kind) {
  std::vector<double> exact;
  std::vector<double> fast;
  std::vector<double> gains;
  std::vector<double> waiting_gains;
  std::vector<Reply> replies;
  for (int32_t repeat = 0; repeat < options_.repeats; ++repeat) {
    exact.push_back(Run(*waits_.engine, kind, ExitMode::kExact, &replies));
    const double at_once = Run(*at_once_.engine, kind, ExitMode::kFast, &replies);
    fast.push_back(Run(*waits_.engine, kind, ExitMode::kFast, &replies));
    gains.push_back(exact.back() / fast.back());
    waiting_gains.push_back(at_once / fast.back());
  }
  double saved = 0;
  double full = 0;
  for (const Reply& reply : replies) {
    saved += reply.layer_rows_saved;
    full += reply.layer_rows_full;
  }
  // A generation's prompt goes to full depth.
  if (kind == Kind::kGenerate) {
    full += 1.0 * options_.requests * options_.prompt * waits_.engine->info().config.num_layers;
  }
  const double predicted = full / (full - saved);
  std::printf("%-10s %10.3f %10.3f %8.3fx %10.1f%% %10.3fx %13.0f%%\n", name, Median(exact),
              Median(fast), Median(gains), 100 * saved / full, predicted,
              predicted > 1 ? 100 * (Median(gains) - 1) / (predicted - 1) : 0);
  if (kind == Kind::kGenerate) {
    std::printf("waiting at exits: %.3fx over not; %.0f rows waited in a run\n",
                Median(waiting_gains), NumHeld() / options_.repeats);
  }
  std::fflush(stdout);
}

double Bench::NumHeld() const {
  for (const auto& family : waits_.registry.Collect()) {
    if (family.name == "spade_held_rows_total") return family.metric[0].counter.value;
  }
  return 0;
}

absl::Status Bench::MakeEngine(double longest_wait, Engines* made) const {
  EngineOptions options = MakeEngineOptions(options_.engine);
  options.prefix_cache = false;
  options.shadow_share = 0;
  options.hold.longest_wait = longest_wait;
  const auto depth = [&](const Sequence& sequence, int32_t position) {
    return depths_.LayersOf(static_cast<int64_t>(sequence.id), position, 1 << 20);
  };
  SPADE_ASSIGN_OR_RETURN(std::unique_ptr<EngineParts> parts,
                         LoadForcedParts(options, exits_, depth));
  made->engine = Engine::Create(options, std::move(parts), &made->registry);
  return absl::OkStatus();
}

absl::Status Bench::MakeEngines() {
  SPADE_RETURN_IF_ERROR(MakeEngine(options_.max_hold, &waits_));
  SPADE_RETURN_IF_ERROR(MakeEngine(0, &at_once_));
  std::printf("%s, %s, exits %s, %d requests of %d tokens, %d in flight, medians of %d\n",
              options_.engine.shape.c_str(), waits_.engine->info().device.c_str(),
              options_.exits.c_str(), options_.requests, options_.prompt, options_.in_flight,
              options_.repeats);
  return absl::OkStatus();
}

absl::Status RunAll(Options options) {
  if (options.exits.empty()) options.exits = ExitMixOf(options.engine.shape);
  SPADE_ASSIGN_OR_RETURN(const simulate::ExitDepths depths,
                         simulate::ExitDepths::Parse(options.exits, /*seed=*/1));
  Bench bench(options, depths.ExitLayers(/*num_layers=*/1 << 20), &depths);
  SPADE_RETURN_IF_ERROR(bench.MakeEngines());
  std::printf("%-10s %10s %10s %9s %11s %11s %14s\n", "", "EXACT, s", "FAST, s", "gain", "not run",
              "predicts", "of predicted");
  bench.Report("decide", Bench::Kind::kDecide);
  bench.Report("generate", Bench::Kind::kGenerate);
  return absl::OkStatus();
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) {
  spade::bench::Options options;
  CLI::App app("Throughput gained by forced exits against what the layers not run predict");
  AddFlags(app, options.engine);
  app.add_option("--exits", options.exits, "LAYER:SHARE,...; default: a mix for the shape");
  app.add_option("--in-flight", options.in_flight)->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--requests", options.requests)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--prompt", options.prompt, "tokens")
      ->check(CLI::Range(2, 4096))
      ->capture_default_str();
  app.add_option("--tokens", options.tokens, "generated")
      ->check(CLI::Range(2, 256))
      ->capture_default_str();
  app.add_option("--repeats", options.repeats)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--max-hold", options.max_hold,
                 "seconds that a generated row waits at an exit for others; 0: none waits")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::warn);
  const absl::Status status = spade::bench::RunAll(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "forced_exit_bench: %s\n", status.ToString().c_str());
  return 1;
}
