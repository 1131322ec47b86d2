#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>

#include "loadtest/answer.h"
#include "loadtest/client.h"
#include "loadtest/request.h"
#include "loadtest/run_log.h"

namespace spade::loadtest {

// One stream. Events reach it from one completion queue, tagged with the address of the call and
// the operation; it may be deleted when Handle returns true: no operation is pending any more.
// Not thread-safe but for Cancel.
class Call final {
 public:
  enum Operation : uintptr_t { kSent, kRead, kFinished, kCancelDue, kReadDue };
  static constexpr uintptr_t kOperationMask = 7;

  Call(const RequestSpec& spec, const Workload& workload) : spec_(spec), reader_(spec_, workload) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // On the thread that drains `queue`.
  void Start(grpc::GenericStub& stub, grpc::CompletionQueue& queue, const std::string& payload,
             const ClientOptions& options, double due, double now);

  // What all calls of one queue share.
  struct Context {
    RunLog log;
    AnswerScratch scratch;
    AnswerMemory* memory = nullptr;  // null: repeated requests are not compared
    LiveCounts* counts = nullptr;
  };

  bool Handle(Operation operation, bool ok, double now, Context& shared);

  // From any thread.
  void Cancel() { context_.TryCancel(); }

 private:
  void* Tag(Operation operation) { return reinterpret_cast<void*>(uintptr_t(this) | operation); }
  void SetDeadline(const ClientOptions& options);
  void OnRead(bool ok, double now, Context& shared);
  void NextRead();
  void OnFinished(double now, Context& shared);

  RequestSpec spec_;
  AnswerReader reader_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer message_;
  grpc::Status status_;
  std::unique_ptr<grpc::Alarm> cancel_alarm_;
  std::unique_ptr<grpc::Alarm> read_alarm_;
  grpc::CompletionQueue* queue_ = nullptr;
  int num_pending_ = 0;
  int num_pauses_ = 0;
};

}  // namespace spade::loadtest
