#include "server/response_convert.h"

#include <algorithm>

#include "engine/base/reason.h"
#include "kernels/check.h"
#include "server/status_convert.h"

namespace spade {
namespace {

void SetLogprob(const SampledToken& from, v1::TokenLogprob& to) {
  to.set_token_id(from.id);
  to.set_logprob(from.logprob);
  to.set_rank(from.rank);
  for (const TokenLogprob& alternative : from.top) {
    v1::TokenLogprob* top = to.add_top();
    top->set_token_id(alternative.id);
    top->set_logprob(alternative.logprob);
  }
}

void SetUsage(const Usage& from, v1::Usage& to) {
  to.set_prompt_tokens(from.prompt_tokens);
  to.set_cached_tokens(from.cached_tokens);
  to.set_output_tokens(from.output_tokens);
}

void SetTimings(const Timings& from, v1::Timings& to) {
  to.set_queue(from.queue_s);
  to.set_prefill(from.prefill_s);
  to.set_decode(from.decode_s);
}

void SetEarlyTokens(const EarlyTokenStats& from, v1::EarlyTokens& to) {
  to.set_exited(from.exited);
  to.set_accepted(from.accepted);
  if (from.layer_rows_full > 0) {
    to.set_compute_saved(from.layer_rows_saved / from.layer_rows_full);
  }
}

void SetFinish(const SequenceFinish& from, v1::Finish& to) {
  to.set_reason(from.reason == FinishReason::kStop ? v1::Finish::REASON_STOP
                                                   : v1::Finish::REASON_LENGTH);
  if (from.stop_string.has_value()) {
    to.set_stop_string(*from.stop_string);
  } else if (from.stop_token.has_value()) {
    to.set_stop_token_id(*from.stop_token);
  }
  SetUsage(from.usage, *to.mutable_usage());
  SetTimings(from.timings, *to.mutable_timings());
  if (from.early.has_value()) SetEarlyTokens(*from.early, *to.mutable_early_tokens());
}

template <typename AnyCalibration>
void SetExits(const AnyCalibration& from, v1::CalibrationInfo& to) {
  to.set_id(from.id);
  for (const auto& exit : from.exits) to.add_exit_layers(exit.layer);
  for (const Certificate& certificate : from.certificates) {
    to.add_max_mismatch(certificate.max_mismatch);
  }
}

}  // namespace

v1::GenerateResponse& GenerateBuffer::Open(uint32_t index) {
  for (auto message = pending_.rbegin(); message != pending_.rend(); ++message) {
    if (message->index() != index) continue;
    const int entries = message->token_ids_size() + message->prompt_logprobs_size();
    if (entries < kMaxEntriesPerMessage) return *message;
    break;
  }
  pending_.emplace_back().set_index(index);
  return pending_.back();
}

void GenerateBuffer::Add(const GenerateDelta& delta) {
  unread_.Add(delta);
  const auto index = static_cast<uint32_t>(delta.index);
  for (const SampledToken& token : delta.prompt_logprobs) {
    SetLogprob(token, *Open(index).add_prompt_logprobs());
  }
  for (const SampledToken& token : delta.tokens) {
    v1::GenerateResponse& message = Open(index);
    message.add_token_ids(token.id);
    if (with_logprobs_) SetLogprob(token, *message.add_logprobs());
  }
  if (delta.text.empty() && !delta.finish.has_value()) return;
  v1::GenerateResponse& message = Open(index);
  message.mutable_text_delta()->append(delta.text);
  if (delta.finish.has_value()) SetFinish(*delta.finish, *message.mutable_finish());
}

v1::GenerateResponse GenerateBuffer::Take() {
  SPADE_CHECK(!pending_.empty());
  v1::GenerateResponse message = std::move(pending_.front());
  pending_.pop_front();
  unread_.Take(message.ByteSizeLong(), !pending_.empty());
  return message;
}

DecisionConverter::DecisionConverter(const v1::DecideRequest& request, std::string request_id,
                                     int32_t num_layers)
    : labels_(request.labels().begin(), request.labels().end()),
      request_id_(std::move(request_id)),
      num_layers_(num_layers) {}

v1::DecideResponse DecisionConverter::Convert(DecisionKind kind, const Decision& decision) {
  v1::DecideResponse response;
  response.set_request_id(request_id_);
  response.set_kind(kind == DecisionKind::kEarly ? v1::DecideResponse::KIND_EARLY
                                                 : v1::DecideResponse::KIND_FINAL);
  response.set_label(labels_.at(decision.label));
  response.set_label_index(decision.label);
  response.mutable_probabilities()->Add(decision.probabilities.begin(),
                                        decision.probabilities.end());
  response.set_exit_layer(decision.exit_layer);
  response.set_num_layers(num_layers_);
  response.set_entropy(decision.entropy);
  response.set_threshold(decision.threshold);
  response.set_certificate_id(decision.certificate_id);
  if (decision.layer_rows_full > 0) {
    response.set_compute_saved(decision.layer_rows_saved / decision.layer_rows_full);
  }
  response.set_flops_saved(decision.flops_saved);
  response.set_corrected(kind == DecisionKind::kFinal &&
                         early_label_.value_or(decision.label) != decision.label);
  if (kind == DecisionKind::kEarly) early_label_ = decision.label;
  SetUsage(decision.usage, *response.mutable_usage());
  SetTimings(decision.timings, *response.mutable_timings());
  return response;
}

v1::DecideResponse DecisionConverter::Error(const absl::Status& status,
                                            RandomSource* random) const {
  v1::DecideResponse response;
  response.set_request_id(request_id_);
  response.mutable_error()->set_code(status.raw_code());
  response.mutable_error()->set_message(
      TruncatedMessage({status.message().data(), status.message().size()}));
  if (RetryAfterOf(status)) {
    response.mutable_error()->set_retry_after_seconds(
        std::chrono::duration<double>(RetryDelay(status, random)).count());
  }
  return response;
}

v1::GetModelResponse ConvertModel(const ModelInfo& model, const std::string& name) {
  v1::GetModelResponse response;
  const ModelConfig& config = model.config;
  response.set_name(name);
  response.set_architecture(config.architecture_name);
  response.set_num_layers(config.num_layers);
  response.set_hidden_size(config.hidden_size);
  response.set_num_heads(config.num_heads);
  response.set_num_kv_heads(config.num_kv_heads);
  response.set_head_dim(config.head_dim);
  response.set_vocab_size(config.vocab_size);
  response.set_max_context(model.max_context);
  response.set_num_parameters(config.total_parameters());
  response.set_weight_dtype(model.weight_dtype);
  response.set_compute(model.compute);
  if (config.bos_id.has_value()) response.set_bos_token_id(*config.bos_id);
  for (const TokenId id : config.eos_ids) response.add_eos_token_ids(id);
  for (const Calibration& calibration : model.calibrations) {
    v1::CalibrationInfo* info = response.add_calibrations();
    SetExits(calibration, *info);
    for (const std::string& label : calibration.label_texts) info->add_labels(label);
  }
  if (model.token_calibration.has_value()) {
    SetExits(*model.token_calibration, *response.mutable_generation_calibration());
  }
  return response;
}

void ConvertStats(const EngineStats& stats, const ModelInfo& model,
                  v1::GetServerInfoResponse& response) {
  response.set_device(model.device);
  response.set_running(stats.running);
  response.set_waiting(stats.waiting);
  response.set_kv_blocks(stats.kv_blocks);
  response.set_kv_blocks_in_use(stats.kv_blocks_in_use);
  response.set_weight_bytes(model.weight_bytes);
  response.set_kv_bytes(model.kv_bytes);
}

}  // namespace spade
