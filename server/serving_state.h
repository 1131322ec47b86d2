#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "server/inference_engine.h"
#include "server/random_source.h"
#include "server/request_convert.h"
#include "server/write_executor.h"

namespace spade {

// The engine with what is derived from its model.
struct ServedModel {
  ServedModel(InferenceEngine* engine, std::string name, RandomSource* random)
      : engine(engine),
        name(name),
        converter(&engine->tokenizer(), &engine->info(), std::move(name), random) {}

  InferenceEngine* engine;
  std::string name;
  RequestConverter converter;
};

// Loading, then serving, then draining; and how many calls are open. Thread-safe.
class ServingState {
 public:
  // Loading ends. Once.
  void SetModel(std::unique_ptr<const ServedModel> model);
  // Resumes the watching streams, on this thread.
  void StartDraining();
  // A stream that must hear of draining, for it would stay open otherwise.
  void WatchDraining(const std::shared_ptr<ResumableStream>& stream);
  void UnwatchDraining(const ResumableStream* stream);

  // The engine makes no progress, or does so again.
  void SetStalled(bool stalled);

  bool draining() const;
  bool stalled() const;
  // Lives as long as this; null while loading.
  const ServedModel* model() const;
  // For calls that make new work: UNAVAILABLE while loading or draining.
  absl::StatusOr<const ServedModel*> Accept() const;
  // Accept's status; also UNAVAILABLE while the engine is stalled.
  absl::Status Health() const;
  // For calls that only ask: UNAVAILABLE while loading.
  absl::StatusOr<const ServedModel*> Loaded() const;

  void CallStarted();
  void CallEnded();
  // Waits until no call is open; false if `timeout` was over first.
  bool WaitForCalls(std::chrono::milliseconds timeout);

 private:
  mutable std::mutex mutex_;
  std::condition_variable no_calls_;
  std::unique_ptr<const ServedModel> model_;
  bool draining_ = false;
  bool stalled_ = false;
  int open_calls_ = 0;
  std::unordered_map<const ResumableStream*, std::weak_ptr<ResumableStream>> watching_;
};

}  // namespace spade
