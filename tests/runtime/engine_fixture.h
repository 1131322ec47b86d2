#pragma once

#include <prometheus/registry.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/kv/kv_cache.h"
#include "engine/runtime/engine.h"

namespace spade::testing {

// What one continuation came to.
struct SequenceResult {
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;
  std::vector<SampledToken> sampled;
  std::vector<SampledToken> prompt_logprobs;
  std::string text;
  std::optional<SequenceFinish> finish;
};

// Collects a request's output; Wait from the test's thread.
class Collector final : public GenerateSink {
 public:
  explicit Collector(int num_sequences = 1) : sequences_(static_cast<size_t>(num_sequences)) {}

  void OnDelta(GenerateDelta delta) override;
  void OnDone(const absl::Status& status) override;

  // Fails the test after two minutes.
  absl::Status Wait();
  // Until `count` deltas came, or the end.
  void WaitForDeltas(int count);
  const std::vector<SequenceResult>& sequences() const { return sequences_; }
  int num_done() const;
  int num_deltas() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SequenceResult> sequences_;
  std::optional<absl::Status> status_;
  int num_done_ = 0;
  int num_deltas_ = 0;
};

using Outcome = std::vector<std::vector<SequenceResult>>;  // (requests, sequences)
// Waits for all of them; each must be OK.
Outcome WaitForAll(const std::vector<std::shared_ptr<Collector>>& sinks);

class DecisionCollector final : public DecideSink {
 public:
  void OnDecision(DecisionKind kind, const Decision& decision) override;
  void OnDone(const absl::Status& status) override;

  absl::Status Wait();
  struct Answer {
    DecisionKind kind;
    Decision decision;
  };
  const std::vector<Answer>& answers() const { return answers_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Answer> answers_;
  std::optional<absl::Status> status_;
};

std::string TicketsModel();

// An engine over the model in models/, small and with a KV cache of `kv_blocks` blocks.
EngineOptions SmallOptions(int32_t kv_blocks = 256);
struct TestEngine {
  std::unique_ptr<prometheus::Registry> registry;
  std::unique_ptr<Engine> engine;
  Engine* operator->() const { return engine.get(); }
  Engine& operator*() const { return *engine; }
};
TestEngine MakeEngine(const EngineOptions& options);

// `length` ids that begin with the start token; the same for the same seed.
std::vector<TokenId> MakePrompt(int length, uint32_t seed);
GenerateRequest MakeRequest(std::vector<TokenId> prompt, int32_t max_tokens);

// Runs one request to its end, which must be OK.
std::vector<SequenceResult> RunToEnd(Engine& engine, GenerateRequest request);
// Sum of a counter's or gauge's values over all label sets that contain `labels`.
double MetricValue(const prometheus::Registry& registry, const std::string& name,
                   const std::map<std::string, std::string>& labels = {});

}  // namespace spade::testing
