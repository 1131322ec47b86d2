#include "tools/simulate/fleet.h"

#include <algorithm>
#include <utility>

namespace spade::simulate {
namespace {

int32_t PoolBlocks(std::span<const Request> requests, const EngineShape& shape) {
  if (shape.kv_blocks > 0) return shape.kv_blocks;
  int32_t longest = 1;
  for (const Request& request : requests) {
    longest = std::max(longest, request.prompt_len + request.output_len);
  }
  return shape.max_sequences * ((longest + shape.block_size - 1) / shape.block_size + 1);
}

}  // namespace

Fleet::Fleet(std::span<const Request> requests, const EngineShape& shape, const StepCosts* costs,
             const ExitDepths* depths)
    : requests_(requests), shape_(shape), costs_(*costs), depths_(*depths) {
  SchedulerOptions options;
  options.max_rows = shape.max_rows;
  options.max_sequences = shape.max_sequences;
  options.block_size = shape.block_size;
  options.num_stages = costs->num_stages();
  options.prefix_cache = false;  // lengths say nothing of what prompts share
  pool_.emplace(PoolBlocks(requests, shape));
  scheduler_.emplace(options, &*pool_, &hasher_);
  for (const Request& request : requests) record_.requests.push_back({.arrival = request.arrival});
}

void Fleet::Arrive(double now) {
  for (; next_ < requests_.size() && requests_[next_].arrival <= now; ++next_) {
    const Request& request = requests_[next_];
    SequenceSpec spec;
    spec.prompt.assign(static_cast<size_t>(request.prompt_len), 0);
    spec.max_tokens = request.output_len;
    spec.whole_prompt = spec.may_leave = request.output_len == 0;
    if (const absl::StatusOr<SequenceId> id = scheduler_->Add(std::move(spec)); id.ok()) {
      flights_[*id].request = static_cast<int32_t>(next_);
    } else {
      ++record_.refused;
      ++num_done_;
    }
  }
}

double Fleet::next_arrival() const {
  return next_ < requests_.size() ? requests_[next_].arrival
                                  : std::numeric_limits<double>::infinity();
}

// The prompt's rows of a generation go to full depth: only an output token's row may leave.
int32_t Fleet::WantedStages(SequenceId id) {
  const Flight& flight = At(id);
  const Sequence& sequence = Get(id);
  const int32_t token = sequence.num_output();
  const bool may_leave = Decides(id) || (token > 0 && flight.num_in_row < shape_.max_in_row);
  if (!may_leave) return costs_.num_stages();
  return costs_.BoundaryAfter(depths_.LayersOf(flight.request, token, costs_.num_layers()));
}

void Fleet::Give(SequenceId id, bool early, double now) {
  Flight& flight = At(id);
  RequestRecord& request = record_.requests[static_cast<size_t>(flight.request)];
  if (request.first < 0) {
    request.first = now;
  } else {
    record_.gaps.push_back(now - request.last);
  }
  request.last = now;
  record_.end = std::max(record_.end, now);
  const bool decides = Decides(id);
  record_.early_tokens += early && !decides ? 1 : 0;
  flight.num_in_row = early ? flight.num_in_row + 1 : 0;
  request.tokens += decides ? 0 : 1;
  if (decides || request.tokens == requests_[static_cast<size_t>(flight.request)].output_len) {
    flights_.erase(id);
    scheduler_->Remove(id);
    ++num_done_;
  } else {
    scheduler_->Append(id, 0);
  }
}

}  // namespace spade::simulate
