#include "server/vllm/generate_buffer.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"

namespace spade {
namespace {

void SetTop(const SampledToken& token, vllm_api::TopLogProbs* top) {
  for (const TokenLogprob& alternative : token.top) {
    top->add_values(alternative.logprob);
    top->add_token_ids(static_cast<uint32_t>(alternative.id));
  }
}

void AddLogprob(const SampledToken& token, bool with_top, vllm_api::OutputLogProbs* logprobs) {
  logprobs->add_token_logprobs(token.logprob);
  logprobs->add_token_ids(static_cast<uint32_t>(token.id));
  if (with_top) SetTop(token, logprobs->add_top_logprobs());
}

}  // namespace

void VllmGenerateBuffer::SetRequest(const GenerateRequest& request, std::vector<TokenId> eos_ids) {
  with_logprobs_ = request.sampling.num_logprobs.has_value();
  with_top_ = request.sampling.num_logprobs.value_or(0) > 0;
  first_prompt_token_ = request.context.prompt.front();
  prompt_tokens_ = static_cast<uint32_t>(request.context.prompt.size());
  eos_ids_ = std::move(eos_ids);
  finished_.assign(static_cast<size_t>(request.num_sequences), false);
  if (!stream_) wholes_.resize(finished_.size());
}

void VllmGenerateBuffer::Add(const GenerateDelta& delta) {
  if (stream_) {
    unread_.Add(delta);
    AddToStream(delta);
  } else {
    AddToWhole(delta);
  }
}

void VllmGenerateBuffer::AddToStream(const GenerateDelta& delta) {
  const auto index = static_cast<uint32_t>(delta.index);
  if (!delta.prompt_logprobs.empty()) {
    SetInputLogprobs(delta.prompt_logprobs, OpenChunk(index).mutable_input_logprobs());
  }
  for (const SampledToken& token : delta.tokens) {
    vllm_api::GenerateStreamChunk& chunk = OpenChunk(index);
    chunk.add_token_ids(static_cast<uint32_t>(token.id));
    chunk.set_completion_tokens(static_cast<uint32_t>(chunk.token_ids_size()));
    if (with_logprobs_) AddLogprob(token, with_top_, chunk.mutable_output_logprobs());
  }
  if (!delta.finish.has_value()) return;
  vllm_api::GenerateComplete& complete = *pending_.emplace_back().mutable_complete();
  complete.set_index(index);
  for (const SampledToken& token : delta.tokens) {
    complete.add_output_ids(static_cast<uint32_t>(token.id));
    if (with_logprobs_) AddLogprob(token, with_top_, complete.mutable_output_logprobs());
  }
  Finish(*delta.finish, complete);
  finished_.at(index) = true;
}

void VllmGenerateBuffer::AddToWhole(const GenerateDelta& delta) {
  const auto index = static_cast<uint32_t>(delta.index);
  vllm_api::GenerateComplete& whole = wholes_.at(index);
  if (!delta.prompt_logprobs.empty()) {
    SetInputLogprobs(delta.prompt_logprobs, whole.mutable_input_logprobs());
  }
  for (const SampledToken& token : delta.tokens) {
    whole.add_output_ids(static_cast<uint32_t>(token.id));
    if (with_logprobs_) AddLogprob(token, with_top_, whole.mutable_output_logprobs());
  }
  if (!delta.finish.has_value()) return;
  whole.set_index(index);
  Finish(*delta.finish, whole);
  *pending_.emplace_back().mutable_complete() = std::move(whole);
  finished_.at(index) = true;
}

void VllmGenerateBuffer::Add(Aborted) {
  for (size_t index = 0; index < finished_.size(); ++index) {
    if (finished_[index]) continue;
    vllm_api::GenerateComplete& complete = *pending_.emplace_back().mutable_complete();
    if (!stream_) complete = std::move(wholes_[index]);
    complete.set_index(static_cast<uint32_t>(index));
    complete.set_finish_reason("abort");
    complete.set_prompt_tokens(prompt_tokens_);
    complete.set_completion_tokens(static_cast<uint32_t>(complete.output_ids_size()));
    finished_[index] = true;
  }
}

vllm_api::GenerateResponse VllmGenerateBuffer::Take() {
  SPADE_CHECK(!pending_.empty());
  vllm_api::GenerateResponse response = std::move(pending_.front());
  pending_.pop_front();
  unread_.Take(response.ByteSizeLong(), !pending_.empty());
  return response;
}

// The last chunk of a continuation, or a new one if that is full.
vllm_api::GenerateStreamChunk& VllmGenerateBuffer::OpenChunk(uint32_t index) {
  for (auto message = pending_.rbegin(); message != pending_.rend(); ++message) {
    if (!message->has_chunk() || message->chunk().index() != index) continue;
    if (message->chunk().token_ids_size() < kMaxTokensPerChunk) return *message->mutable_chunk();
    break;
  }
  vllm_api::GenerateStreamChunk& chunk = *pending_.emplace_back().mutable_chunk();
  chunk.set_index(index);
  chunk.set_prompt_tokens(prompt_tokens_);
  return chunk;
}

void VllmGenerateBuffer::Finish(const SequenceFinish& finish,
                                vllm_api::GenerateComplete& complete) const {
  complete.set_finish_reason(finish.reason == FinishReason::kStop ? "stop" : "length");
  complete.set_prompt_tokens(static_cast<uint32_t>(finish.usage.prompt_tokens));
  complete.set_cached_tokens(static_cast<uint32_t>(finish.usage.cached_tokens));
  complete.set_completion_tokens(static_cast<uint32_t>(complete.output_ids_size()));
  const bool at_eos =
      finish.stop_token.has_value() &&
      std::find(eos_ids_.begin(), eos_ids_.end(), *finish.stop_token) != eos_ids_.end();
  if (finish.stop_string.has_value()) {
    complete.set_matched_stop_str(*finish.stop_string);
  } else if (finish.stop_token.has_value() && !at_eos) {
    complete.set_matched_token_id(static_cast<uint32_t>(*finish.stop_token));
  }
}

void VllmGenerateBuffer::SetInputLogprobs(const std::vector<SampledToken>& scores,
                                          vllm_api::InputLogProbs* logprobs) const {
  const bool with_top = std::any_of(scores.begin(), scores.end(),
                                    [](const SampledToken& token) { return !token.top.empty(); });
  logprobs->add_token_logprobs();  // nothing predicts the first token
  logprobs->add_token_ids(static_cast<uint32_t>(first_prompt_token_));
  if (with_top) logprobs->add_top_logprobs();
  for (const SampledToken& token : scores) {
    logprobs->add_token_logprobs()->set_value(token.logprob);
    logprobs->add_token_ids(static_cast<uint32_t>(token.id));
    if (with_top) SetTop(token, logprobs->add_top_logprobs());
  }
}

}  // namespace spade
