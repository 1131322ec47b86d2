#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "loadtest/options.h"
#include "loadtest/report_html.h"
#include "loadtest/report_json.h"
#include "loadtest/report_text.h"
#include "loadtest/server_probe.h"
#include "loadtest/session.h"
#include "loadtest/write_file.h"

namespace spade::loadtest {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitProblems = 1;
constexpr int kExitError = 2;
constexpr auto kIdleTimeout = std::chrono::seconds(30);

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "spade-loadtest: %s\n", status.ToString().c_str());
  return kExitError;
}

absl::Status WriteReports(const Options& options, const std::vector<nlohmann::json>& reports,
                          const std::vector<std::string>& names) {
  if (!options.json_path.empty() && reports.size() == 1) {
    absl::Status status = WriteFile(options.json_path, reports[0].dump(1) + "\n");
    if (!status.ok()) return status;
  }
  if (options.html_path.empty()) return absl::OkStatus();
  return WriteFile(options.html_path, MakeHtml(reports, names));
}

int Compare(const Options& options) {
  absl::StatusOr<nlohmann::json> a = ReadReport(options.compare[0]);
  if (!a.ok()) return Fail(a.status());
  absl::StatusOr<nlohmann::json> b = ReadReport(options.compare[1]);
  if (!b.ok()) return Fail(b.status());
  std::fputs(FormatComparison(*a, *b).c_str(), stdout);
  absl::Status status = WriteReports(options, {*a, *b}, {"A", "B"});
  return status.ok() ? kExitOk : Fail(status);
}

// Nothing may be left of the streams that were cancelled, timed out or refused.
bool CheckIdle(ServerProbe& probe) {
  const absl::StatusOr<ServerFacts> facts = probe.WaitIdle(kIdleTimeout);
  if (!facts.ok()) {
    std::printf("\nThe server no longer answers: %s\n", facts.status().ToString().c_str());
    return false;
  }
  std::printf("\nServer at the end: running %u, waiting %u, KV blocks in use %u: %s\n",
              facts->running, facts->waiting, facts->kv_blocks_in_use,
              facts->idle() ? "idle" : "NOT IDLE");
  return facts->idle();
}

int RunTest(const Options& options) {
  ServerProbe probe(options.client);
  absl::StatusOr<ModelFacts> model = probe.Model();
  if (!model.ok()) return Fail(model.status());
  absl::StatusOr<ServerFacts> server = probe.Server();
  if (!server.ok()) return Fail(server.status());
  absl::StatusOr<Workload> workload = MakeWorkload(options, *model);
  if (!workload.ok()) return Fail(workload.status());
  const std::string description = DescribeWorkload(options, *workload);
  std::printf("%s at %s: %s, context %u, on %s\n%s\n\n", server->version.c_str(),
              options.client.target.c_str(), model->name.c_str(), model->max_context,
              server->device.c_str(), description.c_str());
  std::fflush(stdout);

  absl::StatusOr<std::vector<RunResult>> runs = RunAll(options, *workload);
  if (!runs.ok()) return Fail(runs.status());
  bool clean = true;
  for (const RunResult& run : *runs) clean = clean && run.clean();
  if (options.workload.chaos) clean = CheckIdle(probe) && clean;

  const ReportHeader header{
      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone()),
      options.command,
      options.client.target,
      model->name,
      server->version,
      server->device,
      description};
  absl::Status status = WriteReports(options, {MakeReport(header, *runs)}, {""});
  if (!status.ok()) return Fail(status);
  return clean ? kExitOk : kExitProblems;
}

}  // namespace
}  // namespace spade::loadtest

int main(int argc, char** argv) {
  // A debug aid of abseil's that Debian's build leaves on: gRPC's locks would be looked up in a
  // graph, which costs a twentieth of a call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  using spade::loadtest::Compare;
  using spade::loadtest::RunTest;
  const spade::loadtest::ParsedOptions parsed = spade::loadtest::ParseOptions(argc, argv);
  if (!parsed.options) {
    std::fputs(parsed.output.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  return parsed.options->compare.empty() ? RunTest(*parsed.options) : Compare(*parsed.options);
}
