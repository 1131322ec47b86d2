#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/kv_cache.h"
#include "engine/model/staged_model.h"
#include "engine/runtime/engine.h"
#include "engine/runtime/step_runner.h"
#include "engine/schedule/scheduler.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/backend.h"

namespace spade {

// What an engine is made of, in order of construction; the backend goes last.
struct EngineParts {
  ModelInfo info;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<StagedModel> model;
  std::optional<KvCache> kv;
  std::optional<BlockPool> pool;
  std::optional<BlockHasher> hasher;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<TokenExits> token_exits;  // null: no generation leaves early
  std::unique_ptr<StepRunner> runner;
};

// What tests and benchmarks change of the parts.
struct PartsOverrides {
  // In place of MakeBackend.
  std::function<absl::StatusOr<std::unique_ptr<Backend>>(const BackendOptions&)> make_backend;
  std::vector<int32_t> exit_layers;  // exit points beside the calibrations': each in [1, layers)
};

// Loads the model folder and the calibrations, and sizes all memory. Errors name the file or the
// option to change.
absl::StatusOr<std::unique_ptr<EngineParts>> LoadEngineParts(const EngineOptions& options,
                                                             const PartsOverrides& overrides = {});

// Rows of one generated sequence that may wait at exits: so many that a step has room for a row of
// every running sequence and all that wait (I7).
int32_t MaxParked(const EngineOptions& options);

// The runner of parts that have all else; replaces one that was there.
absl::Status MakeRunner(const EngineOptions& options, EngineParts* parts);

}  // namespace spade
