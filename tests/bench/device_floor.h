#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace spade::bench {

// What a device can do at most, by its own backend: the best of several runs.
class DeviceFloor {
 public:
  // `backend` outlives this. RESOURCE_EXHAUSTED where 1.3 GB more do not fit.
  static absl::StatusOr<DeviceFloor> Create(Backend* backend);

  double CopyBandwidth();  // bytes/s, read and written, of rows copied within the device
  double ProductRate();    // FLOP/s of a large product with BF16 weights

 private:
  explicit DeviceFloor(Backend* backend) : backend_(backend) {}
  double BestSeconds(int repeats, const std::function<void()>& run);

  Backend* backend_;
  Buffer from_;
  Buffer to_;
  Matrix weight_;
};

}  // namespace spade::bench
