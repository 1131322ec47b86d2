#include "kernels/cuda/time_marks.h"

#include "kernels/check.h"
#include "kernels/cuda/cuda_check.h"

namespace spade::cuda {

TimeMarks::TimeMarks(cudaStream_t stream) : stream_(stream) {
  for (cudaEvent_t& event : events_) {
    CheckCuda(cudaEventCreateWithFlags(&event, cudaEventDefault), "creation of an event");
  }
}

TimeMarks::~TimeMarks() {
  for (const cudaEvent_t event : events_) (void)cudaEventDestroy(event);
}

Backend::TimeMark TimeMarks::Mark() {
  const Backend::TimeMark mark = next_++;
  CheckCuda(cudaEventRecord(EventOf(mark), stream_), "record of an event");
  return mark;
}

double TimeMarks::Elapsed(Backend::TimeMark from, Backend::TimeMark to) {
  SPADE_CHECK(from <= to);
  CheckCuda(cudaEventSynchronize(EventOf(to)), "an operation queued before");
  float milliseconds = 0;
  CheckCuda(cudaEventElapsedTime(&milliseconds, EventOf(from), EventOf(to)), "time of events");
  return double{milliseconds} * 1e-3;
}

cudaEvent_t TimeMarks::EventOf(Backend::TimeMark mark) const {
  SPADE_CHECK(mark >= 0 && mark < next_ && next_ - mark <= Backend::kMaxTimeMarks);
  return events_[static_cast<size_t>(mark % Backend::kMaxTimeMarks)];
}

}  // namespace spade::cuda
