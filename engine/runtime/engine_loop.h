#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/runtime/draft_tuner.h"
#include "engine/runtime/engine_metrics.h"
#include "engine/runtime/engine_parts.h"
#include "engine/runtime/request_log.h"
#include "engine/runtime/request_queue.h"
#include "engine/runtime/request_state.h"
#include "engine/runtime/shadow_checks.h"
#include "engine/runtime/step_facts.h"

namespace spade {

// What a request ends with, for which there is no memory.
absl::Status OutOfMemory();

// The one thread that owns scheduler, KV blocks, model and all accepted requests. Each turn takes
// the callers' commands, ends what is cancelled or past its deadline, and runs one step; without
// work it sleeps. Stats may be called from any thread.
class EngineLoop {
 public:
  // All pointers outlive this. `shadow_share`: of early answers, to be checked. The thread starts
  // here.
  EngineLoop(EngineParts* parts, RequestQueue* queue, EngineMetrics* metrics, RequestLog* log,
             double shadow_share);
  // Ends what is left as UNAVAILABLE.
  ~EngineLoop();

  EngineStats Stats() const;
  const StepFacts& facts() const { return facts_; }

 private:
  struct Owner {
    RequestState* request = nullptr;
    int32_t index = 0;
  };
  using Deadlines = std::set<std::pair<Clock::time_point, RequestId>>;

  void Run();
  void Apply();
  void EndExpired();
  void EndAll();
  std::optional<Clock::time_point> NextDeadline() const;
  void Sleep();

  void Start(std::unique_ptr<RequestState> request);
  absl::Status TakeIn(std::unique_ptr<RequestState>& request);
  void StartShadow();
  absl::Status AddSequences(RequestState* request);
  absl::Status AddSequence(RequestState* request, SequenceSpec spec);
  void End(RequestId id, const absl::Status& status, bool aborted = false);
  void Close(std::unique_ptr<RequestState> request, const absl::Status& status, bool aborted);
  void Note(const RequestState& request, const absl::Status& status);
  void EndDisplaced(const QueueShares::Shed& shed);
  void LeaveWaiting(RequestState* request, bool scheduled);

  // Null: the owner is a decision.
  static GeneratedSequence* GeneratedBy(const Owner& owner);
  int32_t num_stages() const { return parts_.model->num_stages(); }
  void RunStep(const StepPlan& plan);
  void MarkScheduled(const StepPlan& plan, Clock::time_point now);
  void ListItems(const StepPlan& plan);
  const StepItem& AddItem(const PlannedRows& rows);
  void DropPreempted(const StepPlan& plan);
  void Commit();
  void CommitGenerated(const StepItem& item);
  void Deliver(const StepItem& item, Clock::time_point now);
  void DeliverTokens(const StepItem& item, Clock::time_point now);
  void CountTokens(const StepItem& item, const GenerateDelta& delta);
  void Finish(const StepItem& item, SequenceFinish& finish);
  void DeliverDecision(const StepItem& item, Clock::time_point now);
  void FinishParked();
  void EndUnanswered();
  void TuneDrafting();
  void Publish();
  void Beat();

  EngineParts& parts_;
  RequestQueue& queue_;
  EngineMetrics& metrics_;
  RequestLog& log_;
  ShadowChecks shadows_;
  std::optional<DraftTuner> drafts_;
  RequestId next_shadow_id_ = RequestId{1} << 63;  // callers' count from 1

  const absl::Status out_of_memory_ = OutOfMemory();  // made while there is some

  // Of the loop's thread.
  LoopCommands commands_;
  bool stopping_ = false;
  std::unordered_map<RequestId, std::unique_ptr<RequestState>> requests_;
  std::unordered_map<SequenceId, Owner> owners_;
  Deadlines deadlines_;
  Deadlines queue_deadlines_;  // of what waits
  std::vector<StepItem> items_;
  std::vector<RanRows> ran_;           // scratch
  std::vector<RequestId> unanswered_;  // whose logits gave nothing in this step
  int32_t drawn_tokens_ = 0;

  StepFacts facts_;
  std::atomic<int32_t> blocks_in_use_{0};
  std::atomic<int64_t> last_beat_ns_{0};
  std::atomic<bool> idle_{true};
  std::thread thread_;
};

}  // namespace spade
