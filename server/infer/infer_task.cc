#include "server/infer/infer_task.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/field_check.h"
#include "server/infer/decision_model.h"
#include "server/infer/generation_model.h"
#include "server/infer/input_tensors.h"
#include "server/infer/model_catalog.h"
#include "server/request_convert.h"

namespace spade {
namespace {

using ::inference::ModelInferRequest;
using ::inference::ModelInferResponse;

constexpr int kMaxOutputs = 64;
constexpr int64_t kMaxLogprobEntries = 1 << 18;

// Errors name fields of our own API, which groups the parameters that are flat here.
absl::Status WithClientNames(const absl::Status& status) {
  const std::string message(status.message());
  for (const std::string_view group : {"sampling.", "stopping.", "output."}) {
    if (message.rfind(group, 0) != 0) continue;
    return absl::Status(status.code(), message.substr(group.size()));
  }
  return status;
}

absl::Status CheckOutputs(const ModelInferRequest& request, const CatalogModel& model) {
  SPADE_RETURN_IF_ERROR(CheckCount("outputs", request.outputs_size(), kMaxOutputs));
  for (const auto& output : request.outputs()) {
    if (FindSpec(model.outputs, output.name()) == nullptr) {
      return FieldError("outputs",
                        absl::StrCat("this model has no output \"", output.name(), "\""));
    }
    if (output.parameters().contains("shared_memory_region")) {
      return absl::UnimplementedError("outputs: shared memory is not supported");
    }
  }
  return absl::OkStatus();
}

// Asking for an optional output by name is the same as setting its return_ input.
absl::StatusOr<Arguments> ArgumentsOf(const ModelInferRequest& request, const CatalogModel& model) {
  SPADE_RETURN_IF_ERROR(CheckOutputs(request, model));
  auto arguments = InferArguments(request, model.inputs);
  if (!arguments.ok()) return arguments.status();
  for (const auto& output : request.outputs()) {
    if (FindSpec(model.outputs, output.name())->optional) {
      (*arguments)[absl::StrCat("return_", output.name())] = true;
    }
  }
  return Arguments(*std::move(arguments));
}

// Logprobs come as one text for all the output: what it takes to write it is bounded.
absl::Status CheckLogprobs(const GenerateRequest& request, int32_t max_context) {
  if (!request.sampling.num_logprobs) return absl::OkStatus();
  const int64_t tokens = int64_t{request.num_sequences} * request.max_tokens.value_or(max_context);
  if (tokens * (1 + *request.sampling.num_logprobs) <= kMaxLogprobEntries) return absl::OkStatus();
  return FieldError("logprobs", absl::StrCat("at most ", kMaxLogprobEntries,
                                             " in all; lower n, max_tokens or logprobs"));
}

absl::StatusOr<InferTask> PrepareGeneration(const ServedModel& model, const std::string& id,
                                            Arguments arguments, bool streaming,
                                            const AdmitEither& admit) {
  SPADE_ASSIGN_OR_RETURN(GenerationPlan plan, PlanGeneration(std::move(arguments)));
  if (plan.view.stream && !streaming) {
    return FieldError("stream", "needs ModelStreamInfer");
  }
  plan.request.set_request_id(id);
  SPADE_ASSIGN_OR_RETURN(GenerateRequest request,
                         model.converter.Convert(plan.request, admit.generation));
  SPADE_RETURN_IF_ERROR(CheckLogprobs(request, model.engine->info().max_context));
  auto output = std::make_unique<GenerationOutput>(
      plan.view, &model.engine->tokenizer(), plan.request.text(), request.num_sequences,
      static_cast<int32_t>(request.context.prompt.size()));
  return InferTask{std::move(request), std::move(output)};
}

absl::StatusOr<InferTask> PrepareDecision(const ServedModel& model, const std::string& id,
                                          Arguments arguments, bool streaming,
                                          const AdmitEither& admit) {
  SPADE_ASSIGN_OR_RETURN(v1::DecideRequest plan, PlanDecision(std::move(arguments)));
  plan.set_request_id(id);
  SPADE_ASSIGN_OR_RETURN(DecideRequest request, model.converter.Convert(plan, admit.decision));
  DecisionConverter converter(plan, id, model.engine->info().config.num_layers);
  auto output = std::make_unique<DecisionOutput>(std::move(converter), /*previews=*/streaming);
  return InferTask{std::move(request), std::move(output)};
}

// A parameter of the protocol's own, which may have either type; nullopt: absent.
absl::StatusOr<std::optional<uint64_t>> Reserved(const ModelInferRequest& request,
                                                 const char* name) {
  const auto found = request.parameters().find(name);
  if (found == request.parameters().end()) return std::nullopt;
  if (found->second.has_uint64_param()) return found->second.uint64_param();
  if (found->second.has_int64_param() && found->second.int64_param() >= 0) {
    return static_cast<uint64_t>(found->second.int64_param());
  }
  return FieldError(name, "must be a whole number, not negative");
}

absl::Status SetSchedule(const ModelInferRequest& request,
                         std::optional<Clock::time_point> deadline, RequestContext& context) {
  context.deadline = deadline;
  SPADE_ASSIGN_OR_RETURN(const std::optional<uint64_t> priority, Reserved(request, "priority"));
  SPADE_ASSIGN_OR_RETURN(const std::optional<uint64_t> timeout, Reserved(request, "timeout"));
  // Triton's levels count from 1, the most urgent; 0 is as if none was named.
  constexpr int32_t kLast = std::numeric_limits<int32_t>::max();
  if (priority.value_or(0) > 0) {
    context.priority = static_cast<int32_t>(std::min<uint64_t>(*priority, kLast)) - kLast - 1;
  }
  if (timeout.value_or(0) == 0) return absl::OkStatus();  // 0: none
  constexpr uint64_t kYear = 365ull * 24 * 3600 * 1'000'000;
  const auto own = context.arrival + std::chrono::microseconds(std::min(*timeout, kYear));
  context.deadline = std::min(own, deadline.value_or(own));
  return absl::OkStatus();
}

}  // namespace

RequestContext& InferTask::context() {
  return std::visit([](auto& any) -> RequestContext& { return any.context; }, request);
}

absl::StatusOr<InferTask> PrepareInference(const ServedModel& model,
                                           const ModelInferRequest& request, bool streaming,
                                           std::optional<Clock::time_point> deadline,
                                           const AdmitEither& admit) {
  if (request.id().size() > kMaxRequestIdBytes) {
    return FieldError("id", absl::StrCat("at most ", kMaxRequestIdBytes, " bytes"));
  }
  SPADE_ASSIGN_OR_RETURN(const CatalogModel entry,
                         FindModel(model.name, request.model_name(), request.model_version()));
  SPADE_ASSIGN_OR_RETURN(Arguments arguments, ArgumentsOf(request, entry));
  const auto prepare = entry.decides ? PrepareDecision : PrepareGeneration;
  const auto admit_scheduled = [&](auto& converted) -> absl::Status {
    SPADE_RETURN_IF_ERROR(SetSchedule(request, deadline, converted.context));
    if constexpr (std::is_same_v<decltype(converted), GenerateRequest&>) {
      return admit.generation(converted);
    } else {
      return admit.decision(converted);
    }
  };
  auto task = prepare(model, request.id(), std::move(arguments), streaming, admit_scheduled);
  if (!task.ok()) return WithClientNames(task.status());
  return task;
}

// Of a request that is yet to be checked, and may be held while its error waits to be read: no more
// than a valid one has.
InferResponses::InferResponses(const ModelInferRequest& request) {
  auto names = std::make_shared<Names>();
  names->model = request.model_name().substr(0, kMaxRequestIdBytes);
  names->id = request.id().substr(0, kMaxRequestIdBytes);
  const int count = std::min(request.outputs_size(), kMaxOutputs);
  for (int i = 0; i < count; ++i) {
    names->requested.push_back(request.outputs(i).name().substr(0, kMaxRequestIdBytes));
  }
  names_ = std::move(names);
}

ModelInferResponse InferResponses::Frame(const Names& names) {
  ModelInferResponse response;
  response.set_model_name(names.model);
  response.set_model_version(std::string(kCatalogVersion));
  response.set_id(names.id);
  return response;
}

MakeInferResponse InferResponses::Take() {
  return [names = names_, make = output_->Take()] { return Make(*names, make()); };
}

ModelInferResponse InferResponses::Make(const Names& names, ModelInferResponse all) {
  ModelInferResponse response = Frame(names);
  response.mutable_parameters()->swap(*all.mutable_parameters());
  for (int i = 0; i < all.outputs_size(); ++i) {
    const std::string& name = all.outputs(i).name();
    if (!names.requested.empty() &&
        std::find(names.requested.begin(), names.requested.end(), name) == names.requested.end()) {
      continue;
    }
    response.add_outputs()->Swap(all.mutable_outputs(i));
    response.add_raw_output_contents()->swap(*all.mutable_raw_output_contents(i));
  }
  return response;
}

}  // namespace spade
