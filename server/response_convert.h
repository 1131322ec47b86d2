#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/engine.h"
#include "engine/runtime/request.h"
#include "server/inference_engine.h"
#include "server/random_source.h"
#include "server/unread_bytes.h"
#include "spade/v1/inference.pb.h"

namespace spade {

// One stream's unsent output. Deltas of a sequence that wait are merged, so a slow client costs the
// memory of its own output and no more, in messages that stay below the 4 MiB which gRPC clients
// accept by default. Not thread-safe.
class GenerateBuffer {
 public:
  // Tokens and prompt logprobs; about 0.5 MiB with 20 alternatives each.
  static constexpr int kMaxEntriesPerMessage = 1024;

  explicit GenerateBuffer(bool with_logprobs) : with_logprobs_(with_logprobs) {}

  void Add(const GenerateDelta& delta);
  bool empty() const { return pending_.empty(); }
  size_t bytes() const { return unread_.count(); }
  v1::GenerateResponse Take();  // must not be empty

 private:
  // The last message of a sequence, or a new one if that is full.
  v1::GenerateResponse& Open(uint32_t index);

  bool with_logprobs_;
  std::deque<v1::GenerateResponse> pending_;
  UnreadBytes unread_;
};

// Decisions of one request to messages; knows the labels' texts and, in mode VERIFIED, the first
// answer. Not thread-safe.
class DecisionConverter {
 public:
  DecisionConverter(const v1::DecideRequest& request, std::string request_id, int32_t num_layers);

  v1::DecideResponse Convert(DecisionKind kind, const Decision& decision);
  v1::DecideResponse Error(const absl::Status& status, RandomSource* random) const;

 private:
  std::vector<std::string> labels_;
  std::string request_id_;
  int32_t num_layers_;
  std::optional<int32_t> early_label_;
};

v1::GetModelResponse ConvertModel(const ModelInfo& model, const std::string& name);
// Fills what the engine knows.
void ConvertStats(const EngineStats& stats, const ModelInfo& model,
                  v1::GetServerInfoResponse& response);

}  // namespace spade
