#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/reason.h"
#include "engine/runtime/request.h"

namespace spade {

struct RequestState;

// What became of a request, and when; nothing of its prompt or its output. Seconds count from its
// arrival.
struct RequestRecord {
  uint64_t number = 0;  // of all records, from 1
  std::string id;
  std::string tenant;
  bool decides = false;
  ExitMode mode = ExitMode::kExact;
  std::chrono::system_clock::time_point received;
  std::optional<double> scheduled_s;     // unset: it never was
  std::optional<double> first_answer_s;  // first token, or a decision's first answer
  double ended_s = 0;
  absl::StatusCode code = absl::StatusCode::kOk;
  Reason reason = Reason::kNone;
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  int32_t output_tokens = 0;
  int32_t early_tokens = 0;  // tokens taken or drafted at an exit
  int32_t exit_layer = 0;    // a decision's; 0: full depth
};

// What a request says of itself, and that it came now.
RequestRecord RecordOf(const RequestContext& context, ExitMode mode);
// The record of a request that ends with `status` now.
RequestRecord RecordOf(const RequestState& request, const absl::Status& status,
                       Clock::time_point now);

// The last requests that ended or were refused. Thread-safe; its memory is bounded.
class RequestLog {
 public:
  explicit RequestLog(size_t capacity) : capacity_(capacity) {}

  bool keeps() const { return capacity_ > 0; }
  void Add(RequestRecord record);
  // The last `count` at most, the newest first.
  std::vector<RequestRecord> Last(size_t count) const;

 private:
  const size_t capacity_;
  mutable std::mutex mutex_;
  std::deque<RequestRecord> records_;
  uint64_t num_added_ = 0;
};

}  // namespace spade
