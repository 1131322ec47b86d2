#include "tools/simulate/workload.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "loadtest/arrivals.h"
#include "loadtest/lengths.h"
#include "loadtest/rng.h"
#include "loadtest/trace.h"

namespace spade::simulate {
namespace {

constexpr uint64_t kLengthStream = 0x1e;
constexpr uint64_t kDecideStream = 0xde;

absl::StatusOr<std::vector<loadtest::TraceRow>> Synthetic(const WorkloadOptions& options) {
  SPADE_ASSIGN_OR_RETURN(const loadtest::Lengths prompts,
                         loadtest::Lengths::Parse(options.prompt_len));
  SPADE_ASSIGN_OR_RETURN(const loadtest::Lengths outputs,
                         loadtest::Lengths::Parse(options.output_len));
  const std::vector<double> arrivals = loadtest::MakeArrivals(
      static_cast<size_t>(options.requests), options.rate, options.burstiness, options.seed);
  loadtest::Rng rng(options.seed, kLengthStream);
  std::vector<loadtest::TraceRow> rows;
  for (const double at : arrivals) {
    const uint32_t prompt = prompts.Sample(rng);
    rows.push_back({at, prompt, outputs.Sample(rng)});
  }
  return rows;
}

absl::StatusOr<std::vector<loadtest::TraceRow>> FromTrace(const WorkloadOptions& options) {
  SPADE_ASSIGN_OR_RETURN(std::vector<loadtest::TraceRow> rows, loadtest::ReadTrace(options.trace));
  if (options.limit > 0 && rows.size() > static_cast<size_t>(options.limit)) {
    rows.resize(static_cast<size_t>(options.limit));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Request>> MakeWorkload(const WorkloadOptions& options) {
  const bool synthetic = options.trace.empty();
  SPADE_ASSIGN_OR_RETURN(std::vector<loadtest::TraceRow> rows,
                         synthetic ? Synthetic(options) : FromTrace(options));
  const auto max_context = static_cast<uint32_t>(options.max_context);
  const double scale = loadtest::FittingScale(rows, max_context);
  rows = loadtest::ScaleTrace(std::move(rows), scale, synthetic ? 1 : options.speed, max_context);
  std::vector<Request> requests;
  loadtest::Rng rng(options.seed, kDecideStream);
  for (const loadtest::TraceRow& row : rows) {
    const bool decides = rng.Uniform() < options.decide_share;
    requests.push_back({row.at, static_cast<int32_t>(row.input_len),
                        decides ? 0 : static_cast<int32_t>(row.output_len)});
  }
  return requests;
}

}  // namespace spade::simulate
