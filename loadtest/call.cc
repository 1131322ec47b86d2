#include "loadtest/call.h"

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"

namespace spade::loadtest {
namespace {

constexpr char kGenerateMethod[] = "/spade.v1.InferenceService/Generate";
constexpr char kDecideMethod[] = "/spade.v1.InferenceService/Decide";
// Bounds how long a slow reader lives.
constexpr int kMaxPauses = 20;

std::chrono::system_clock::time_point After(double seconds) {
  return std::chrono::system_clock::now() +
         std::chrono::microseconds(static_cast<int64_t>(seconds * 1e6));
}

std::string Describe(const RequestSpec& spec) {
  std::string text = absl::StrCat(spec.kind == Kind::kGenerate ? "Generate" : "Decide", " ",
                                  spec.index, ", fault ", std::string(FaultName(spec.fault)));
  if (spec.fault == Fault::kInvalid) {
    absl::StrAppend(&text, " (", std::string(InvalidRequestName(spec.invalid)), ")");
  }
  return text;
}

}  // namespace

void Call::SetDeadline(const ClientOptions& options) {
  if (spec_.fault == Fault::kDeadline) {
    context_.set_deadline(After(spec_.fault_seconds));
  } else if (options.timeout_s > 0) {
    context_.set_deadline(After(options.timeout_s));
  }
}

void Call::Start(grpc::GenericStub& stub, grpc::CompletionQueue& queue, const std::string& payload,
                 const ClientOptions& options, double due, double now) {
  RequestRecord& record = reader_.record();
  record.kind = spec_.kind;
  record.fault = spec_.fault;
  record.invalid = spec_.invalid;
  record.due = due;
  record.sent = now;
  queue_ = &queue;
  SetDeadline(options);
  options.AddToken(context_);
  const bool cancels = spec_.fault == Fault::kCancel && spec_.fault_seconds >= 0;
  num_pending_ = cancels ? 3 : 2;  // before any event can reach the queue's thread
  if (cancels) {
    cancel_alarm_ = std::make_unique<grpc::Alarm>();
    cancel_alarm_->Set(&queue, After(spec_.fault_seconds), Tag(kCancelDue));
  }
  // Corked, so that headers, message and half-close leave in one batch.
  context_.set_initial_metadata_corked(true);
  stream_ = stub.PrepareCall(
      &context_, spec_.kind == Kind::kGenerate ? kGenerateMethod : kDecideMethod, &queue);
  stream_->StartCall(nullptr);
  grpc::Slice slice(payload);
  stream_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), Tag(kSent));
  stream_->Read(&message_, Tag(kRead));
}

bool Call::Handle(Operation operation, bool ok, double now, Context& shared) {
  --num_pending_;
  switch (operation) {
    case kSent:
      break;
    case kRead:
      OnRead(ok, now, shared);
      break;
    case kFinished:
      OnFinished(now, shared);
      break;
    case kCancelDue:
      if (ok) Cancel();
      break;
    case kReadDue:
      NextRead();
      break;
  }
  return num_pending_ == 0;
}

void Call::OnRead(bool ok, double now, Context& shared) {
  if (!ok) {
    ++num_pending_;
    stream_->Finish(&status_, Tag(kFinished));
    return;
  }
  const RequestRecord& record = reader_.record();
  const bool answered = record.first > 0;
  reader_.Read(message_, now, shared.scratch, shared.log);
  if (!answered && record.first > 0) {
    shared.counts->first_answers.fetch_add(1, std::memory_order_relaxed);
    shared.counts->ttft_micros.fetch_add(static_cast<uint64_t>((record.first - record.sent) * 1e6),
                                         std::memory_order_relaxed);
    if (spec_.fault == Fault::kCancel && spec_.fault_seconds < 0) Cancel();
  }
  if (spec_.fault == Fault::kSlowReader && num_pauses_ < kMaxPauses) {
    ++num_pauses_;
    ++num_pending_;
    read_alarm_ = std::make_unique<grpc::Alarm>();
    read_alarm_->Set(queue_, After(spec_.fault_seconds), Tag(kReadDue));
    return;
  }
  NextRead();
}

void Call::NextRead() {
  ++num_pending_;
  stream_->Read(&message_, Tag(kRead));
}

void Call::OnFinished(double now, Context& shared) {
  if (cancel_alarm_) cancel_alarm_->Cancel();
  RequestRecord& record = reader_.record();
  record.code = status_.error_code();
  record.end = now;
  if (!IsExpectedCode(spec_, status_.error_code())) {
    ++shared.log.unexpected_codes;
    shared.log.AddProblem(absl::StrCat(Describe(spec_), ": code ", record.code, ", ",
                                       status_.error_message().substr(0, 200)));
  } else if (status_.ok()) {
    if (std::string wrong = reader_.Check(shared.memory); !wrong.empty()) {
      ++shared.log.broken_streams;
      shared.log.AddProblem(absl::StrCat(Describe(spec_), ": ", wrong));
    }
  }
  shared.counts->output_tokens.fetch_add(record.output_tokens, std::memory_order_relaxed);
  if (!status_.ok()) shared.counts->failed.fetch_add(1, std::memory_order_relaxed);
  shared.log.requests.push_back(record);
}

}  // namespace spade::loadtest
