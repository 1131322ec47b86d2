#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>

#include "kernels/backend.h"

namespace spade::cuda {

// Backend's time marks as events of a stream, used in turn.
class TimeMarks {
 public:
  explicit TimeMarks(cudaStream_t stream);
  TimeMarks(const TimeMarks&) = delete;
  TimeMarks& operator=(const TimeMarks&) = delete;
  ~TimeMarks();

  Backend::TimeMark Mark();
  double Elapsed(Backend::TimeMark from, Backend::TimeMark to);  // seconds; waits for `to`

 private:
  cudaEvent_t EventOf(Backend::TimeMark mark) const;

  const cudaStream_t stream_;
  std::array<cudaEvent_t, Backend::kMaxTimeMarks> events_{};
  Backend::TimeMark next_ = 0;
};

}  // namespace spade::cuda
