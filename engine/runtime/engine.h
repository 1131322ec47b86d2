#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"
#include "engine/exit/token_calibration.h"
#include "engine/model/model_config.h"
#include "engine/runtime/request.h"
#include "engine/runtime/request_log.h"
#include "engine/runtime/step_facts.h"
#include "engine/schedule/hold_policy.h"
#include "engine/schedule/tenant_weights.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/backend.h"

namespace prometheus {
class Registry;
}

namespace spade {

struct EngineParts;

struct EngineOptions {
  std::string model_directory;
  std::string model_name;  // label of the metrics
  BackendOptions backend;
  std::string weight_dtype = "auto";  // auto (the checkpoint's), f32, f16, bf16, int8
  // Type that the inputs of products are rounded to: f32, f16, bf16, int8, or auto (the
  // calibrations' but for int8, else BestCompute). backend.compute is set from it.
  std::string compute = "auto";
  // None: the calibrations', else BestKvType.
  std::optional<DType> kv_dtype = std::nullopt;
  int64_t kv_memory_bytes = 0;  // of each device; 0: a quarter of what is free after loading
  int32_t block_size = 16;
  int32_t max_rows = 512;      // rows of one step: the token budget
  int32_t max_sequences = 64;  // running at once
  int32_t max_context = 0;     // 0: the model's
  int32_t max_queued_requests = 1024;
  int64_t max_queued_tokens = 1 << 20;          // prompt tokens waiting
  std::chrono::milliseconds max_queue_time{0};  // a request waits no longer; 0: no bound
  TenantWeights tenant_weights;
  int32_t max_tenants = 256;  // told apart; later names share one place
  bool prefix_cache = true;
  std::vector<std::string> calibrations;  // files of spade-calibrate; FAST needs a matching one
  // One that was made for something else is left out with a warning, in place of an error.
  bool skip_unfit_calibrations = false;
  int32_t max_recent_requests = 256;  // that RecentRequests can tell of
  HoldOptions hold;                   // rows of FAST tokens that go deeper may wait
  double shadow_share = 0.01;         // of FAST answers, completed to full depth and compared
};

struct EngineStats {
  int32_t running = 0;
  int32_t waiting = 0;
  int32_t kv_blocks = 0;
  int32_t kv_blocks_in_use = 0;
  double seconds_since_step = 0;  // heartbeat: since the loop last finished a step or was idle
  bool idle = true;
};

// Limits and identity of the loaded model, for the API.
struct ModelInfo {
  ModelConfig config;
  std::string weight_dtype;
  std::string compute;
  std::optional<DType> kv_dtype;  // set
  std::string device;             // Backend::description
  int32_t max_context = 0;
  int64_t weight_bytes = 0;  // on all devices together
  int64_t kv_bytes = 0;      // the same
  std::string model_sha256;  // empty until a calibration asks for it
  std::vector<Calibration> calibrations;
  std::optional<TokenCalibration> token_calibration;
  std::string unfit_calibration;  // why one was left out; empty: none was
};

// The whole engine behind a few calls: one loop thread owns the scheduler, the KV cache and the
// model. All methods are thread-safe.
class Engine {
 public:
  // Loads model, tokenizer and calibrations, sizes all memory, starts the loop. Errors say which
  // file or option to change. `registry` outlives the engine.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options,
                                                        prometheus::Registry* registry);
  // The same of parts already loaded with these options.
  static std::unique_ptr<Engine> Create(const EngineOptions& options,
                                        std::unique_ptr<EngineParts> parts,
                                        prometheus::Registry* registry);
  // Drains with no grace: what is left ends as UNAVAILABLE.
  ~Engine();

  const ModelInfo& info() const;
  const Tokenizer& tokenizer() const;

  // A handle for Cancel; the sink is released after OnDone. Nothing is called on the sink when an
  // error is returned: INVALID_ARGUMENT (the field is named), RESOURCE_EXHAUSTED (a queue is full),
  // UNAVAILABLE (draining), FAILED_PRECONDITION (mode without a matching certificate),
  // DEADLINE_EXCEEDED (already past).
  using RequestHandle = uint64_t;
  absl::StatusOr<RequestHandle> Generate(GenerateRequest request,
                                         std::shared_ptr<GenerateSink> sink);
  absl::StatusOr<RequestHandle> Decide(DecideRequest request, std::shared_ptr<DecideSink> sink);

  // For before a request's prompt is made, which need not be there yet: RESOURCE_EXHAUSTED where
  // Generate or Decide would say so whatever it is. Counted and noted as theirs is.
  absl::Status CheckQueue(const GenerateRequest& request);
  absl::Status CheckQueue(const DecideRequest& request);

  // Stops the request at the next step and frees everything it holds; OnDone(CANCELLED) follows.
  // No effect on a finished one.
  void Cancel(RequestHandle handle);

  // Refuses new requests from now on.
  void StopAccepting();
  // Waits until nothing is left, or `grace` is over: then the rest ends as UNAVAILABLE.
  // Returns the number of requests that were cut off.
  int Drain(std::chrono::milliseconds grace);

  EngineStats Stats() const;
  // The last requests that ended or were refused here, newest first.
  std::vector<RequestRecord> RecentRequests(size_t count) const;
  // Lives as long as the engine.
  const StepFacts& facts() const;

 private:
  class Impl;
  template <typename Request>
  absl::Status CheckQueueOf(const Request& request);
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace spade
