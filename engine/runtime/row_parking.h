#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace spade {

// Memory for hidden states of rows that left a climb and may go on later; slots are handed out one
// by one. All of it is allocated at load: whoever parks must have seen to it that there is room.
class RowParking {
 public:
  // RESOURCE_EXHAUSTED where the backend has no room.
  static absl::StatusOr<RowParking> Create(Backend& backend, int32_t num_slots,
                                           int32_t hidden_size);

  Tensor rows() const { return rows_; }  // (slots, hidden)
  int32_t Take();
  void Give(int32_t slot) { free_.push_back(slot); }
  int32_t num_taken() const { return static_cast<int32_t>(rows_.rows - std::ssize(free_)); }

 private:
  Buffer memory_;
  Tensor rows_;
  std::vector<int32_t> free_;
};

}  // namespace spade
