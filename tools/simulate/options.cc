#include "tools/simulate/options.h"

#include "CLI/CLI.hpp"

namespace spade::simulate {
namespace {

void AddWorkload(CLI::App& app, WorkloadOptions& workload) {
  app.add_option("--trace", workload.trace,
                 "CSV: TIMESTAMP,ContextTokens,GeneratedTokens; default: synthetic requests");
  app.add_option("--speed", workload.speed, "of the trace: 2 has twice the rate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--limit", workload.limit, "requests of the trace; 0: all");
  app.add_option("--requests", workload.requests, "synthetic ones")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--rate", workload.rate, "synthetic requests a second")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--burstiness", workload.burstiness,
                 "shape of the gamma distributed gaps: 1 is a Poisson process, less is burstier")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--prompt-len", workload.prompt_len, "N, LOW:HIGH or lognormal:MEAN:STDDEV")
      ->capture_default_str();
  app.add_option("--output-len", workload.output_len, "likewise")->capture_default_str();
  app.add_option("--decide-share", workload.decide_share, "of the requests that are decisions")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--max-context", workload.max_context, "lengths are scaled down to fit")
      ->check(CLI::Range(2, 1 << 24))
      ->capture_default_str();
  app.add_option("--seed", workload.seed)->capture_default_str();
}

}  // namespace

void AddOptions(CLI::App& app, Options& options) {
  app.add_option("--costs", options.costs, "stage costs, as simulate_check measures them")
      ->required();
  app.add_option("--exits", options.exits,
                 "share of the rows that leave after a number of layers, as 8:0.3,16:0.2");
  app.add_option("--depths", options.depths,
                 "file: a line a request, for each token the layers that its row runs");
  AddWorkload(app, options.workload);
  app.add_option("--max-rows", options.shape.max_rows, "rows of one step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-sequences", options.shape.max_sequences, "running at once")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--kv-blocks", options.shape.kv_blocks, "0: enough for all that run");
  app.add_option("--max-in-row", options.shape.max_in_row,
                 "early tokens of a sequence without one of full depth between them")
      ->capture_default_str();
  app.add_option("--policies", options.policies, "of full, grouped, drex, ours, ours-hold")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--drex-batch", options.policy.drex_batch,
                 "rows that DREX regroups; 0: as many as its cost model says")
      ->capture_default_str();
  app.add_option("--longest-wait", options.policy.longest_wait, "seconds in a buffer, at most")
      ->capture_default_str();
  app.add_option("--goal-ttft", options.goal_ttft_ms, "milliseconds")->capture_default_str();
  app.add_option("--goal-tpot", options.goal_tpot_ms, "milliseconds")->capture_default_str();
  app.add_option("--json", options.json, "file for the report");
  app.add_option("--html", options.html, "file for the report");
}

}  // namespace spade::simulate
