#include "server/admin_service.h"

#include <chrono>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/reason.h"
#include "engine/base/status_macros.h"

namespace spade {
namespace {

constexpr size_t kAll = std::numeric_limits<size_t>::max();

const char* NameOf(ExitMode mode) {
  switch (mode) {
    case ExitMode::kExact:
      return "exact";
    case ExitMode::kVerified:
      return "verified";
    case ExitMode::kFast:
      return "fast";
  }
  return "";
}

void SetTimes(const RequestRecord& record, v1::RequestRecord* out) {
  const int64_t since_epoch =
      std::chrono::duration_cast<std::chrono::nanoseconds>(record.received.time_since_epoch())
          .count();
  out->mutable_received()->set_seconds(since_epoch / 1'000'000'000);
  out->mutable_received()->set_nanos(static_cast<int32_t>(since_epoch % 1'000'000'000));
  if (record.scheduled_s) out->set_scheduled_seconds(*record.scheduled_s);
  if (record.first_answer_s) out->set_first_answer_seconds(*record.first_answer_s);
  out->set_ended_seconds(record.ended_s);
}

void Convert(const RequestRecord& record, v1::RequestRecord* out) {
  out->set_number(record.number);
  out->set_request_id(record.id);
  out->set_tenant(record.tenant);
  out->set_kind(record.decides ? "decide" : "generate");
  out->set_mode(NameOf(record.mode));
  SetTimes(record, out);
  out->set_code(static_cast<int>(record.code));
  out->set_reason(std::string(NameOf(record.reason)));
  out->set_prompt_tokens(static_cast<uint32_t>(record.prompt_tokens));
  out->set_cached_tokens(static_cast<uint32_t>(record.cached_tokens));
  out->set_output_tokens(static_cast<uint32_t>(record.output_tokens));
  out->set_early_tokens(static_cast<uint32_t>(record.early_tokens));
  out->set_exit_layer(static_cast<uint32_t>(record.exit_layer));
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::ListRequests(grpc::CallbackServerContext* context,
                                                     const v1::ListRequestsRequest* request,
                                                     v1::ListRequestsResponse* response) {
  const auto answer = [&](const Caller& caller) -> absl::Status {
    SPADE_ASSIGN_OR_RETURN(const ServedModel* model, service_.state->Loaded());
    const size_t limit = request->limit() == 0 ? kAll : request->limit();
    for (const RequestRecord& record : model->engine->RecentRequests(kAll)) {
      if (static_cast<size_t>(response->requests_size()) == limit) break;
      if (caller.MaySee(record.tenant)) Convert(record, response->add_requests());
    }
    return absl::OkStatus();
  };
  return AnswerInPlace(service_, context, RpcMethod::kListRequests, answer);
}

}  // namespace spade
