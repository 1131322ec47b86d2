#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <string>

#include "loadtest/answer_memory.h"
#include "loadtest/request.h"
#include "loadtest/run_log.h"
#include "loadtest/workload.h"
#include "spade/v1/inference.pb.h"

namespace spade::loadtest {

// Whether the server may end this request with `code`. Any request may meet a full queue.
bool IsExpectedCode(const RequestSpec& spec, grpc::StatusCode code);

// Messages reused from stream to stream; not thread-safe.
struct AnswerScratch {
  v1::GenerateResponse generate;
  v1::DecideResponse decide;
};

// Reads the messages of one stream, fills its record, and checks what they promise: token counts,
// one finish, one final label of the set with probabilities that sum to 1.
class AnswerReader final {
 public:
  AnswerReader(const RequestSpec& spec, const Workload& workload)
      : spec_(spec), workload_(workload) {}

  // `now` in seconds since the run's start.
  void Read(grpc::ByteBuffer& message, double now, AnswerScratch& scratch, RunLog& log);

  // After an OK status: what is wrong with the content, empty if nothing. With `memory`, also that
  // an EXACT decision about the same prompt, or a copy of the same Generate, got the same bits.
  std::string Check(AnswerMemory* memory) const;

  RequestRecord& record() { return record_; }

 private:
  void ReadGenerate(const v1::GenerateResponse& response, double now, RunLog& log);
  void ReadDecide(const v1::DecideResponse& response, double now);
  std::string CheckGenerate() const;
  bool IsRepeatable() const;

  const RequestSpec& spec_;
  const Workload& workload_;
  RequestRecord record_;
  uint32_t tokens_seen_ = 0;
  uint32_t num_ends_ = 0;     // finishes or final answers
  uint64_t fingerprint_ = 0;  // of the tokens or of the final probabilities
  std::string wrong_;
};

}  // namespace spade::loadtest
