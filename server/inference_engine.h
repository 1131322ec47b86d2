#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/runtime/engine.h"
#include "engine/runtime/request.h"

namespace spade {

// What the services need of an engine; semantics and threading are those of Engine.
class InferenceEngine {
 public:
  using RequestHandle = Engine::RequestHandle;

  virtual ~InferenceEngine() = default;

  virtual const ModelInfo& info() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual absl::StatusOr<RequestHandle> Generate(GenerateRequest request,
                                                 std::shared_ptr<GenerateSink> sink) = 0;
  virtual absl::StatusOr<RequestHandle> Decide(DecideRequest request,
                                               std::shared_ptr<DecideSink> sink) = 0;
  virtual absl::Status CheckQueue(const GenerateRequest& request) = 0;
  virtual absl::Status CheckQueue(const DecideRequest& request) = 0;
  virtual void Cancel(RequestHandle handle) = 0;
  virtual void StopAccepting() = 0;
  virtual int Drain(std::chrono::milliseconds grace) = 0;
  virtual EngineStats Stats() const = 0;
  virtual std::vector<RequestRecord> RecentRequests(size_t count) const = 0;
};

// The engine itself behind the interface.
class LoadedEngine final : public InferenceEngine {
 public:
  explicit LoadedEngine(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  const ModelInfo& info() const override { return engine_->info(); }
  const Tokenizer& tokenizer() const override { return engine_->tokenizer(); }
  absl::StatusOr<RequestHandle> Generate(GenerateRequest request,
                                         std::shared_ptr<GenerateSink> sink) override {
    return engine_->Generate(std::move(request), std::move(sink));
  }
  absl::StatusOr<RequestHandle> Decide(DecideRequest request,
                                       std::shared_ptr<DecideSink> sink) override {
    return engine_->Decide(std::move(request), std::move(sink));
  }
  absl::Status CheckQueue(const GenerateRequest& request) override {
    return engine_->CheckQueue(request);
  }
  absl::Status CheckQueue(const DecideRequest& request) override {
    return engine_->CheckQueue(request);
  }
  void Cancel(RequestHandle handle) override { engine_->Cancel(handle); }
  void StopAccepting() override { engine_->StopAccepting(); }
  int Drain(std::chrono::milliseconds grace) override { return engine_->Drain(grace); }
  EngineStats Stats() const override { return engine_->Stats(); }
  std::vector<RequestRecord> RecentRequests(size_t count) const override {
    return engine_->RecentRequests(count);
  }

 private:
  std::unique_ptr<Engine> engine_;
};

}  // namespace spade
