#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "loadtest/run_log.h"
#include "loadtest/stats.h"

namespace spade::loadtest {

// Bounds in milliseconds that a good request meets; the unset ones bind nothing.
struct Slo {
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> e2el_ms;

  // "ttft:200", "tpot:50", "e2el:2000", each at most once. INVALID_ARGUMENT otherwise.
  static absl::StatusOr<Slo> Parse(const std::vector<std::string>& entries);

  bool empty() const { return !ttft_ms && !tpot_ms && !e2el_ms; }
};

// Latencies as vLLM's benchmark defines them, in milliseconds, of the streams that ended OK
// and were read without pauses of our own:
// TTFT from send to the first message with content, E2EL to the last one, ITL every gap between
// two of them, TPOT = (E2EL - TTFT) / (output_len - 1) of those with two output tokens or more.
struct Latencies {
  Summary ttft;
  Summary tpot;
  Summary itl;
  Summary e2el;
};

// Of the decisions that ended OK.
struct DecideMetrics {
  uint64_t count = 0;
  uint64_t num_labelled = 0;  // with a known answer
  double accuracy = 0;        // of those
  double mean_exit_layer = 0;
  double mean_compute_saved = 0;
  uint64_t num_early = 0;
  uint64_t num_corrected = 0;
};

struct TimelinePoint {
  double at = 0;  // seconds, the interval's start
  uint64_t started = 0;
  uint64_t completed = 0;
  uint64_t failed = 0;
  uint64_t running = 0;  // at the interval's end
  uint64_t output_tokens = 0;
  double mean_ttft_ms = 0;
};

struct RunResult {
  double offered_rate = 0;  // 0: closed loop
  int concurrency = 0;
  double duration_s = 0;   // from the first send to the last status
  uint64_t completed = 0;  // ended OK
  uint64_t failed = 0;
  bool has_slo = false;
  uint64_t good = 0;  // met the SLO
  uint64_t input_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t output_tokens = 0;
  Latencies all;
  Latencies generate;
  Latencies decide;
  DecideMetrics decisions;
  Summary send_lag_ms;  // how much later than due requests were sent: the generator's own error
  std::map<std::string, uint64_t> codes;
  std::map<std::string, std::map<std::string, uint64_t>> codes_by_fault;
  std::vector<TimelinePoint> timeline;
  double timeline_interval_s = 1;
  uint64_t unexpected_codes = 0;
  uint64_t broken_streams = 0;
  uint64_t stuck_streams = 0;  // without a status long after their deadline
  std::vector<std::string> problems;
  double client_cpu_s = 0;  // user and system time of this process

  double request_throughput() const { return PerSecond(completed); }
  double request_goodput() const { return PerSecond(good); }
  double output_throughput() const { return PerSecond(output_tokens); }
  double total_token_throughput() const { return PerSecond(input_tokens + output_tokens); }
  bool clean() const { return unexpected_codes + broken_streams + stuck_streams == 0; }

 private:
  double PerSecond(uint64_t count) const {
    return duration_s > 0 ? static_cast<double>(count) / duration_s : 0;
  }
};

// The upper-case name of a gRPC status code.
std::string CodeName(int code);

double TpotMs(const RequestRecord& record);
bool IsGood(const RequestRecord& record, const Slo& slo);

RunResult Measure(const RunLog& log, const Slo& slo);

}  // namespace spade::loadtest
