#pragma once

#include <deque>
#include <vector>

#include "engine/runtime/request.h"
#include "server/unread_bytes.h"
#include "server/vllm/generate_convert.h"

namespace spade {

// One vLLM stream's unsent output. Streaming: deltas of a continuation that wait are merged into
// one chunk, and `complete` follows its last chunk. Else: one `complete` for each continuation. Not
// thread-safe.
class VllmGenerateBuffer {
 public:
  // Tokens of one chunk; as GenerateBuffer's.
  static constexpr int kMaxTokensPerChunk = 1024;

  struct Aborted {};

  // Nothing is added before the request's own facts are known.
  explicit VllmGenerateBuffer(bool stream) : stream_(stream) {}
  // `eos_ids` end a continuation without being reported as matched.
  void SetRequest(const GenerateRequest& request, std::vector<TokenId> eos_ids);

  void Add(const GenerateDelta& delta);
  // Ends the continuations that have not ended.
  void Add(Aborted);
  bool empty() const { return pending_.empty(); }
  size_t bytes() const { return unread_.count(); }
  vllm_api::GenerateResponse Take();

 private:
  vllm_api::GenerateStreamChunk& OpenChunk(uint32_t index);
  void AddToStream(const GenerateDelta& delta);
  void AddToWhole(const GenerateDelta& delta);
  void Finish(const SequenceFinish& finish, vllm_api::GenerateComplete& complete) const;
  void SetInputLogprobs(const std::vector<SampledToken>& scores,
                        vllm_api::InputLogProbs* logprobs) const;

  const bool stream_;
  bool with_logprobs_ = false;
  bool with_top_ = false;
  TokenId first_prompt_token_ = 0;
  uint32_t prompt_tokens_ = 0;
  std::vector<TokenId> eos_ids_;
  std::vector<bool> finished_;                      // by index
  std::vector<vllm_api::GenerateComplete> wholes_;  // by index; not streaming
  std::deque<vllm_api::GenerateResponse> pending_;
  UnreadBytes unread_;  // streaming
};

}  // namespace spade
