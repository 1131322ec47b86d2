// What early exit is worth and whether it keeps its promises, through the whole engine: EXACT,
// VERIFIED and FAST on the same prompts, in turns, block of prompts by block. Prints medians of the
// blocks' wall clock, compares every answer with EXACT's, and fails where VERIFIED differs.

#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/exit/binomial.h"
#include "engine/runtime/engine.h"
#include "tests/bench/exit_run.h"
#include "tests/bench/median.h"
#include "tools/trace/prompt_file.h"

namespace spade::bench {
namespace {

struct Options {
  EngineOptions engine;
  PromptOptions prompts;
  std::string labels;
  int32_t block = 25;
  int32_t max_tokens = 32;
  double max_mismatch = 0.01;
  std::vector<int32_t> in_flight = {1, 32};
};

// One kind of request in the three modes, over all blocks.
struct Outcome {
  std::map<ExitMode, std::vector<double>> seconds;  // a request, by block
  int64_t requests = 0;
  int64_t verified_differs = 0;
  int64_t fast_answers = 0;  // labels, or tokens up to the first that differs
  int64_t fast_differs = 0;
};

// Of the blocks' ratios: what slows the machine for a while slows both.
double Speedup(const std::vector<double>& exact, const std::vector<double>& mode) {
  std::vector<double> ratios;
  for (size_t i = 0; i < exact.size(); ++i) ratios.push_back(exact[i] / mode[i]);
  return Median(std::move(ratios));
}

bool Same(const Reply& a, const Reply& b) {
  return a.tokens == b.tokens && a.label == b.label && a.probabilities == b.probabilities;
}

// After the first token that differs the two texts have nothing to do with each other.
void CompareFast(const Reply& exact, const Reply& fast, Outcome* outcome) {
  if (exact.label >= 0) {
    ++outcome->fast_answers;
    outcome->fast_differs += exact.label != fast.label;
    return;
  }
  const auto [at, other] = std::ranges::mismatch(exact.tokens, fast.tokens);
  const bool differs = at != exact.tokens.end() || other != fast.tokens.end();
  outcome->fast_answers += at - exact.tokens.begin() + (differs ? 1 : 0);
  outcome->fast_differs += differs;
}

void Compare(std::map<ExitMode, std::vector<Reply>>& replies, Outcome* outcome) {
  const std::vector<Reply>& exact = replies[ExitMode::kExact];
  outcome->requests += std::ssize(exact);
  for (size_t i = 0; i < exact.size(); ++i) {
    outcome->verified_differs += !Same(exact[i], replies[ExitMode::kVerified][i]);
    if (replies.contains(ExitMode::kFast)) {
      CompareFast(exact[i], replies[ExitMode::kFast][i], outcome);
    }
  }
}

class Bench {
 public:
  Bench(const Options& options, Engine* engine, PromptSet prompts)
      : options_(options), engine_(*engine), prompts_(std::move(prompts)) {}

  enum class Kind { kDecide, kGreedy, kSampled };
  Outcome Run(Kind kind, int32_t in_flight);

 private:
  double RunBlock(Kind kind, ExitMode mode, int32_t in_flight, int32_t begin, int32_t count,
                  std::vector<Reply>* replies);

  const Options& options_;
  Engine& engine_;
  const PromptSet prompts_;
};

double Bench::RunBlock(Kind kind, ExitMode mode, int32_t in_flight, int32_t begin, int32_t count,
                       std::vector<Reply>* replies) {
  ExitRun run(&engine_, in_flight);
  const double bound = mode == ExitMode::kFast ? options_.max_mismatch : 0;
  const auto prompt = [&](int32_t i) {
    return prompts_.prompts[static_cast<size_t>(begin + i)].ids;
  };
  if (kind == Kind::kDecide) {
    const auto decide = [&](int32_t i) {
      DecideRequest request;
      request.context.prompt = prompt(i);
      request.labels = prompts_.label_ids;
      request.mode = mode;
      request.max_mismatch = mode == ExitMode::kExact ? 0 : options_.max_mismatch;
      return request;
    };
    return run.Decide(count, decide, replies) / count;
  }
  const auto generate = [&](int32_t i) {
    GenerateRequest request;
    request.context.prompt = prompt(i);
    const auto room = engine_.info().max_context - std::ssize(request.context.prompt);
    request.max_tokens = static_cast<int32_t>(std::min<int64_t>(options_.max_tokens, room));
    request.sampling.temperature = kind == Kind::kGreedy ? 0.0f : 1.0f;
    request.sampling.seed = static_cast<uint64_t>(begin + i);
    request.mode = mode;
    request.max_mismatch = bound;
    request.detokenize = false;
    return request;
  };
  return run.Generate(count, generate, replies) / count;
}

Outcome Bench::Run(Kind kind, int32_t in_flight) {
  std::vector<ExitMode> modes = {ExitMode::kExact, ExitMode::kVerified};
  if (kind != Kind::kSampled) modes.push_back(ExitMode::kFast);
  Outcome outcome;
  std::map<ExitMode, std::vector<Reply>> replies;
  const auto total = static_cast<int32_t>(prompts_.prompts.size());
  for (int32_t begin = 0; begin < total; begin += options_.block) {
    const int32_t count = std::min(options_.block, total - begin);
    for (const ExitMode mode : modes) {
      outcome.seconds[mode].push_back(
          RunBlock(kind, mode, in_flight, begin, count, &replies[mode]));
    }
    Compare(replies, &outcome);
    std::ranges::rotate(modes, modes.begin() + 1);
  }
  return outcome;
}

void Print(const std::string& kind, int32_t in_flight, Outcome& outcome) {
  const std::vector<double>& exact = outcome.seconds[ExitMode::kExact];
  std::printf("%-18s %9d  %8.3f ms", kind.c_str(), in_flight, Median(exact) * 1e3);
  for (const ExitMode mode : {ExitMode::kVerified, ExitMode::kFast}) {
    if (!outcome.seconds.contains(mode)) continue;
    const std::vector<double>& seconds = outcome.seconds[mode];
    std::printf("  %8.3f ms %5.2fx", Median(seconds) * 1e3, Speedup(exact, seconds));
  }
  std::printf("\n    VERIFIED as EXACT: %ld of %ld",
              static_cast<long>(outcome.requests - outcome.verified_differs),
              static_cast<long>(outcome.requests));
  if (outcome.fast_answers > 0) {
    const auto differs = static_cast<double>(outcome.fast_differs);
    const auto answers = static_cast<double>(outcome.fast_answers);
    std::printf("; FAST differs in %.0f of %.0f = %.2f %% (95 %% upper bound %.2f %%)", differs,
                answers, 100 * differs / answers,
                100 * FailureRateUpperBound(differs, answers, 0.95));
  }
  std::printf("\n");
  std::fflush(stdout);
}

absl::StatusOr<bool> RunAll(Options options) {
  const std::string model = options.engine.model_directory;
  options.engine.calibrations = {model + "/spade.safetensors",
                                 model + "/spade-generate.safetensors"};
  // Each mode computes its prompts itself, and nothing but them.
  options.engine.prefix_cache = false;
  options.engine.shadow_share = 0;
  prometheus::Registry registry;
  SPADE_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                         Engine::Create(options.engine, &registry));
  options.prompts.labels = options.labels.empty() ? engine->info().calibrations[0].label_texts
                                                  : SplitLabels(options.labels);
  SPADE_ASSIGN_OR_RETURN(PromptSet prompts,
                         LoadPrompts(options.prompts, engine->tokenizer(), engine->info().config));
  std::erase_if(prompts.prompts, [&](const Prompt& prompt) {
    return std::ssize(prompt.ids) + options.max_tokens > engine->info().max_context;
  });
  std::printf("%zu prompts, %s; FAST at max_mismatch %.4g; medians of blocks of %d\n\n",
              prompts.prompts.size(), engine->info().device.c_str(), options.max_mismatch,
              options.block);
  std::printf("%-18s %9s  %11s  %18s  %18s\n", "a request", "in flight", "EXACT", "VERIFIED",
              "FAST");
  Bench bench(options, engine.get(), std::move(prompts));
  int64_t differs = 0;
  for (const int32_t in_flight : options.in_flight) {
    for (const auto& [kind, name] : {std::pair{Bench::Kind::kDecide, "decide"},
                                     std::pair{Bench::Kind::kGreedy, "generate, greedy"},
                                     std::pair{Bench::Kind::kSampled, "generate, sampled"}}) {
      Outcome outcome = bench.Run(kind, in_flight);
      Print(name, in_flight, outcome);
      differs += outcome.verified_differs;
    }
  }
  return differs == 0;
}

}  // namespace
}  // namespace spade::bench

int main(int argc, char** argv) {
  spade::bench::Options options;
  options.engine.model_directory = "models/tickets-7m";
  CLI::App app("EXACT, VERIFIED and FAST side by side; exit status 1 where VERIFIED differs");
  app.add_option("--model", options.engine.model_directory, "with its calibrations")
      ->capture_default_str();
  app.add_option("--data", options.prompts.path, "prompts, as for spade-eval")->required();
  app.add_option("--labels", options.labels, "default: the calibration's");
  app.add_option("--limit", options.prompts.limit, "prompts; 0: all");
  app.add_option("--block", options.block, "prompts that one mode runs before the next does")
      ->capture_default_str();
  app.add_option("--max-mismatch", options.max_mismatch)->capture_default_str();
  app.add_option("--max-tokens", options.max_tokens)->capture_default_str();
  app.add_option("--in-flight", options.in_flight)->delimiter(',')->capture_default_str();
  app.add_option("--device", options.engine.backend.device)->capture_default_str();
  app.add_flag("--batch-invariant", options.engine.backend.batch_invariant);
  app.add_option("--cuda-graphs", options.engine.backend.cuda_graphs)->capture_default_str();
  app.add_option("--threads", options.engine.backend.num_threads)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::warn);
  const absl::StatusOr<bool> passed = spade::bench::RunAll(options);
  if (!passed.ok()) {
    std::fprintf(stderr, "exit_bench: %s\n", passed.status().ToString().c_str());
    return 2;
  }
  return *passed ? 0 : 1;
}
