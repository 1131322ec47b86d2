// What a step of steady decode costs outside the kernels: the time between two steps' tokens, less
// that of the backend's operations, through the whole engine on random weights. Medians of steps.

#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/runtime/engine_parts.h"
#include "tests/bench/median.h"
#include "tests/bench/random_engine.h"
#include "tests/bench/timed_backend.h"

namespace spade::bench {
namespace {

constexpr int32_t kPrompt = 32;
constexpr int32_t kWarmUp = 16;  // steps

struct Options {
  RandomEngine engine = {.shape = "135m"};
  std::vector<int32_t> batches = {1, 8, 32};
  int32_t steps = 200;
};

struct Mark {
  std::chrono::steady_clock::time_point at;
  double kernel_seconds;
  int64_t operations;
};

// Notes the time of each token, and what the backend had taken by then.
class MarkingSink final : public GenerateSink {
 public:
  MarkingSink(const TimedBackend* backend, size_t steps) : backend_(*backend) {
    marks_.reserve(steps);
  }
  void OnDelta(GenerateDelta) override {
    marks_.push_back({std::chrono::steady_clock::now(), backend_.seconds(), backend_.operations()});
  }
  void OnDone(const absl::Status& status) override { done_.set_value(status); }
  absl::Status Wait() { return done_.get_future().get(); }
  const std::vector<Mark>& marks() const { return marks_; }

 private:
  const TimedBackend& backend_;
  std::vector<Mark> marks_;
  std::promise<absl::Status> done_;
};

absl::Status Report(const Options& options, Engine& engine, const TimedBackend& backend,
                    int32_t batch) {
  std::vector<std::shared_ptr<MarkingSink>> sinks;
  for (int32_t i = 0; i < batch; ++i) {
    GenerateRequest request;
    request.context.prompt.assign(kPrompt, 5 + i);
    request.context.prompt[0] = 0;
    // The first one to come ends last: while it is counted the batch is whole.
    request.max_tokens = options.steps;
    request.ignore_eos = true;
    request.sampling.temperature = 0;
    request.detokenize = false;
    sinks.push_back(std::make_shared<MarkingSink>(&backend, static_cast<size_t>(options.steps)));
    SPADE_RETURN_IF_ERROR(engine.Generate(std::move(request), sinks.back()).status());
  }
  for (const auto& sink : sinks) SPADE_RETURN_IF_ERROR(sink->Wait());
  const double noting = TimedBackend::NotingSeconds();
  std::vector<double> steps;
  std::vector<double> outside;
  const std::vector<Mark>& marks = sinks[0]->marks();
  for (size_t i = kWarmUp; i + 1 < marks.size(); ++i) {
    const double step = std::chrono::duration<double>(marks[i + 1].at - marks[i].at).count();
    const double kernels = marks[i + 1].kernel_seconds - marks[i].kernel_seconds;
    const auto operations = static_cast<double>(marks[i + 1].operations - marks[i].operations);
    steps.push_back(step - 2 * noting * operations);
    outside.push_back(step - kernels - noting * operations);
  }
  std::printf("%5d  %10.3f  %15.1f  %13.2f%%\n", batch, Median(steps) * 1e3, Median(outside) * 1e6,
              100 * Median(outside) / Median(steps));
  std::fflush(stdout);
  return absl::OkStatus();
}

absl::Status RunAll(const Options& options) {
  EngineOptions engine_options = MakeEngineOptions(options.engine);
  PartsOverrides overrides;
  const TimedBackend* backend = nullptr;
  overrides.make_backend =
      [&](const BackendOptions& asked) -> absl::StatusOr<std::unique_ptr<Backend>> {
    SPADE_ASSIGN_OR_RETURN(std::unique_ptr<Backend> made, MakeBackend(asked));
    auto timed = std::make_unique<TimedBackend>(std::move(made));
    backend = timed.get();
    return timed;
  };
  SPADE_ASSIGN_OR_RETURN(std::unique_ptr<EngineParts> parts,
                         LoadEngineParts(engine_options, overrides));
  prometheus::Registry registry;
  const std::unique_ptr<Engine> engine =
      Engine::Create(engine_options, std::move(parts), &registry);
  std::printf("%s, %s, %d steps each\n%5s  %10s  %15s  %14s\n", options.engine.shape.c_str(),
              engine->info().device.c_str(), options.steps, "batch", "step, ms", "outside, us",
              "of the step");
  for (const int32_t batch : options.batches) {
    SPADE_RETURN_IF_ERROR(Report(options, *engine, *backend, batch));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) {
  spade::bench::Options options;
  CLI::App app("Time of a decode step outside the kernels");
  AddFlags(app, options.engine);
  app.add_option("--batches", options.batches)->delimiter(',')->capture_default_str();
  app.add_option("--steps", options.steps)->check(CLI::Range(50, 400))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::warn);
  const absl::Status status = spade::bench::RunAll(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "step_bench: %s\n", status.ToString().c_str());
  return 1;
}
