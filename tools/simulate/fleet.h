#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/kv/block_pool.h"
#include "engine/schedule/scheduler.h"
#include "tools/simulate/exit_depths.h"
#include "tools/simulate/step_costs.h"
#include "tools/simulate/workload.h"

namespace spade::simulate {

struct EngineShape {
  int32_t max_rows = 512;
  int32_t max_sequences = 64;
  int32_t block_size = 16;
  int32_t kv_blocks = 0;    // 0: enough for max_sequences of the longest requests
  int32_t max_in_row = 15;  // early tokens of a sequence without one of full depth between them
};

struct RequestRecord {
  double arrival = 0;
  double first = -1;  // time of the first token, or of the decision; below 0: none came
  double last = -1;
  int32_t tokens = 0;
};

// What a simulated engine did.
struct RunRecord {
  std::vector<RequestRecord> requests;
  std::vector<double> gaps;  // seconds between two tokens of a sequence, all of them
  double end = 0;            // seconds
  int64_t steps = 0;
  int64_t rows = 0;  // that entered the first stage
  double layer_rows = 0;
  double layer_rows_full = 0;  // had every row run all layers
  int64_t early_tokens = 0;
  int64_t refused = 0;
};

// A generation or decision in the engine.
struct Flight {
  int32_t request = 0;
  int32_t num_in_row = 0;  // early tokens since the last of full depth
};

// The requests on their way through the production scheduler, and what they got when. The clock is
// the caller's.
class Fleet {
 public:
  // All outlive this.
  Fleet(std::span<const Request> requests, const EngineShape& shape, const StepCosts* costs,
        const ExitDepths* depths);

  // Requests that have arrived by then enter the scheduler.
  void Arrive(double now);
  // Infinite: no more come.
  double next_arrival() const;
  bool done() const { return num_done_ == requests_.size(); }

  Scheduler& scheduler() { return *scheduler_; }
  const Sequence& Get(SequenceId id) const { return *scheduler_->Find(id); }
  Flight& At(SequenceId id) { return flights_.at(id); }
  bool Decides(SequenceId id) const { return Get(id).spec.whole_prompt; }
  // Stages that the sequence's newest row is to run, if it may leave: num_stages is full depth.
  int32_t WantedStages(SequenceId id);
  // The sequence's next token or decision is there.
  void Give(SequenceId id, bool early, double now);

  RunRecord& record() { return record_; }

 private:
  std::span<const Request> requests_;
  const EngineShape shape_;
  const StepCosts& costs_;
  const ExitDepths& depths_;
  const BlockHasher hasher_{1, 2};
  std::optional<BlockPool> pool_;
  std::optional<Scheduler> scheduler_;
  std::unordered_map<SequenceId, Flight> flights_;
  size_t next_ = 0;
  size_t num_done_ = 0;
  RunRecord record_;
};

}  // namespace spade::simulate
