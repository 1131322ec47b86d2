#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "server/inference_engine.h"

namespace spade {

struct FakeEngineOptions {
  std::chrono::microseconds tick{500};
  int tokens_per_tick = 1;
  size_t max_requests = 1000;
};

// An engine without a model: every tick each generation gets tokens 100, 101, ... with the texts
// "w100 ", "w101 ", and each decision gets label (prompt length) % (labels). In mode VERIFIED label
// 0 comes first; FAST is refused. While paused nothing happens but cancellation, and the heartbeat
// stands still.
class FakeEngine final : public InferenceEngine {
 public:
  explicit FakeEngine(FakeEngineOptions options = {});
  ~FakeEngine() override;

  const ModelInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  absl::StatusOr<RequestHandle> Generate(GenerateRequest request,
                                         std::shared_ptr<GenerateSink> sink) override;
  absl::StatusOr<RequestHandle> Decide(DecideRequest request,
                                       std::shared_ptr<DecideSink> sink) override;
  absl::Status CheckQueue(const GenerateRequest& request) override;
  absl::Status CheckQueue(const DecideRequest& request) override;
  void Cancel(RequestHandle handle) override;
  void StopAccepting() override;
  int Drain(std::chrono::milliseconds grace) override;
  EngineStats Stats() const override;
  std::vector<RequestRecord> RecentRequests(size_t count) const override;

  // What RecentRequests tells of from now on.
  void SetRecentRequests(std::vector<RequestRecord> records);
  // The last request's; empty before one came.
  std::string last_tenant() const;
  // What Submit answers from now on; OK: as before.
  void Refuse(absl::Status status);
  // What CheckQueue answers from now on.
  void RefuseAtOnce(absl::Status status);
  // Runs before a request is taken; set before any comes.
  void set_on_submit(std::function<void()> on_submit) { on_submit_ = std::move(on_submit); }
  void Pause();
  void Resume();
  int64_t num_cancelled() const { return num_cancelled_; }
  int64_t num_accepted() const { return num_accepted_; }
  // Of the requests so far.
  std::vector<std::string> cache_salts() const;

 private:
  struct Generation {
    GenerateRequest request;
    std::shared_ptr<GenerateSink> sink;
    int32_t num_tokens = 0;
  };
  struct Choice {
    DecideRequest request;
    std::shared_ptr<DecideSink> sink;
  };
  struct Job {
    std::variant<Generation, Choice> work;
    bool cancelled = false;
  };

  absl::Status CheckQueueOf(const RequestContext& context);
  absl::StatusOr<RequestHandle> Submit(Job job);
  void Run();
  bool Advance(Job& job);  // true: it is over
  bool AdvanceGeneration(Generation& generation);
  bool Answer(Choice& choice);
  void FinishAll(const absl::Status& status);

  const FakeEngineOptions options_;
  ModelInfo info_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::atomic<int64_t> num_cancelled_ = 0;
  std::atomic<int64_t> num_accepted_ = 0;

  mutable std::mutex mutex_;
  std::vector<std::string> cache_salts_;
  std::condition_variable wake_;
  std::condition_variable none_left_;
  std::map<RequestHandle, Job> jobs_;
  RequestHandle next_handle_ = 1;
  Clock::time_point last_step_ = Clock::now();
  std::vector<RequestRecord> recent_;
  std::string last_tenant_;
  absl::Status refusal_;
  absl::Status refusal_at_once_;
  std::function<void()> on_submit_;
  bool accepting_ = true;
  bool paused_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace spade
