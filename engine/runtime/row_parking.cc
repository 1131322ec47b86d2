#include "engine/runtime/row_parking.h"

#include "engine/base/status_macros.h"
#include "kernels/check.h"

namespace spade {

absl::StatusOr<RowParking> RowParking::Create(Backend& backend, int32_t num_slots,
                                              int32_t hidden_size) {
  RowParking parking;
  parking.rows_ = Tensor{nullptr, num_slots, hidden_size, DType::kF32};
  SPADE_ASSIGN_OR_RETURN(parking.memory_, backend.Allocate(parking.rows_.bytes()));
  parking.rows_.data = parking.memory_.data();
  parking.free_.reserve(static_cast<size_t>(num_slots));
  for (int32_t slot = num_slots - 1; slot >= 0; --slot) parking.free_.push_back(slot);
  return parking;
}

int32_t RowParking::Take() {
  SPADE_CHECK(!free_.empty());
  const int32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

}  // namespace spade
