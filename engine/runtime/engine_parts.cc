#include "engine/runtime/engine_parts.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "engine/runtime/calibrations.h"
#include "engine/runtime/memory_plan.h"
#include "engine/runtime/token_heads.h"
#include "engine/runtime/validate.h"

namespace spade {
namespace {

constexpr size_t kMaxJsonBytes = size_t{256} << 20;
constexpr int64_t kLogitsBudget = int64_t{64} << 20;  // bytes of one slice of logits
constexpr int32_t kBlockSizeStep = 8;                 // see KvView
constexpr int32_t kMaxBlockSize = 1024;

absl::Status Annotate(const absl::Status& status, absl::string_view where) {
  return absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

absl::Status CheckOptions(const EngineOptions& options) {
  const auto positive = [](absl::string_view name, int64_t value) {
    if (value > 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, ": must be at least 1"));
  };
  SPADE_RETURN_IF_ERROR(positive("max_rows", options.max_rows));
  SPADE_RETURN_IF_ERROR(positive("max_sequences", options.max_sequences));
  SPADE_RETURN_IF_ERROR(positive("max_queued_requests", options.max_queued_requests));
  SPADE_RETURN_IF_ERROR(positive("max_queued_tokens", options.max_queued_tokens));
  if (options.block_size < kBlockSizeStep || options.block_size > kMaxBlockSize ||
      options.block_size % kBlockSizeStep != 0) {
    return absl::InvalidArgumentError(absl::StrCat("block_size is ", options.block_size,
                                                   ": must be a multiple of ", kBlockSizeStep,
                                                   ", at most ", kMaxBlockSize));
  }
  if (options.max_context < 0 || options.kv_memory_bytes < 0) {
    return absl::InvalidArgumentError("max_context and the KV memory must not be negative");
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> LoadConfig(const std::string& directory) {
  const std::string path = directory + "/config.json";
  SPADE_ASSIGN_OR_RETURN(const std::string config, ReadTextFile(path, kMaxJsonBytes));
  auto generation = ReadTextFile(directory + "/generation_config.json", kMaxJsonBytes);
  if (!generation.ok() && !absl::IsNotFound(generation.status())) return generation.status();
  auto parsed = ParseModelConfig(config, generation.ok() ? *generation : "");
  if (!parsed.ok()) return Annotate(parsed.status(), path);
  return parsed;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory) {
  const std::string path = directory + "/tokenizer.json";
  SPADE_ASSIGN_OR_RETURN(const std::string json, ReadTextFile(path, kMaxJsonBytes));
  auto tokenizer = Tokenizer::Parse(json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), path);
  return tokenizer;
}

absl::StatusOr<DType> ChooseDType(const std::string& name, const ModelConfig& config,
                                  const Checkpoint& checkpoint) {
  if (name == "auto") {
    SPADE_ASSIGN_OR_RETURN(
        const HostMatrix embedding,
        checkpoint.Find("model.embed_tokens.weight", config.vocab_size, config.hidden_size));
    return embedding.dtype;
  }
  if (const std::optional<DType> dtype = WeightTypeNamed(name)) return *dtype;
  return absl::InvalidArgumentError(
      absl::StrCat("weight_dtype: \"", name, "\" is none of auto, f32, f16, bf16, int8"));
}

// Sets info->compute, which is empty where neither the options nor a calibration name it, and is
// that of the backend to be made.
absl::Status ResolveCompute(DType weights, BackendOptions* backend, ModelInfo* info) {
  if (info->compute.empty()) info->compute = NameOf(BestCompute(*backend, weights));
  for (const Compute compute : kComputes) {
    if (info->compute != NameOf(compute)) continue;
    backend->compute = compute;
    if (Suits(*backend, compute, weights)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("compute: ", info->compute, " does not go with weight_dtype ",
                     info->weight_dtype, " on ", backend->device, "; use auto or f32"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("compute: \"", info->compute, "\" is none of auto, f32, f16, bf16, int8"));
}

// ---- Memory

int32_t OutputRows(const EngineOptions& options, const ModelConfig& config) {
  const int64_t row_bytes = int64_t{config.vocab_size} * static_cast<int64_t>(sizeof(float));
  const int64_t rows = std::clamp<int64_t>(kLogitsBudget / row_bytes, 1, options.max_rows);
  return static_cast<int32_t>(rows);
}

absl::StatusOr<int32_t> ChooseContext(const EngineOptions& options, const ModelConfig& config) {
  if (options.max_context > config.max_context) {
    return absl::InvalidArgumentError(absl::StrCat("max_context is ", options.max_context,
                                                   ", but the model's is ", config.max_context));
  }
  return options.max_context > 0 ? options.max_context : config.max_context;
}

// What the decisions of one step may need, of which no cache wants the blocks.
int32_t ScratchBlocks(const EngineOptions& options) {
  if (options.prefix_cache) return 0;
  const int32_t full = (options.max_rows + options.block_size - 1) / options.block_size;
  return full + std::min(options.max_sequences, options.max_rows);
}

absl::Status MakeKv(const EngineOptions& options, EngineParts* parts) {
  ModelInfo& info = parts->info;
  const int32_t shards = parts->backend->shards();
  // Of one device, as are the budget and what is free.
  SPADE_ASSIGN_OR_RETURN(const ModelConfig shard, ShardOf(info.config, shards));
  const KvShape shape{shard.num_layers, shard.num_kv_heads, shard.head_dim, options.block_size,
                      *info.kv_dtype};
  KvDemand demand;
  demand.shape = shape;
  demand.budget_bytes = options.kv_memory_bytes;
  demand.max_sequences = options.max_sequences;
  demand.max_context = info.max_context;
  if (const std::optional<int64_t> free = parts->backend->FreeMemory()) {
    demand.available_bytes = *free - *free / 20;  // lists and modules of kernels come later
    demand.share = kDeviceShare;
  } else {
    demand.available_bytes = AvailableMemory(MemorySources{});
  }
  const int32_t scratch_blocks = ScratchBlocks(options);
  const int64_t scratch_bytes = shape.bytes_per_scratch_block() * scratch_blocks;
  if (demand.available_bytes > 0) {
    demand.available_bytes = std::max<int64_t>(1, demand.available_bytes - scratch_bytes);
  }
  SPADE_ASSIGN_OR_RETURN(const int32_t blocks, PlanKvBlocks(demand));
  SPADE_ASSIGN_OR_RETURN(parts->kv,
                         KvCache::Create(*parts->backend, shape, blocks, scratch_blocks));
  info.kv_bytes = shards * (shape.bytes_per_block() * blocks + scratch_bytes);
  const int64_t positions = int64_t{blocks} * options.block_size;
  if (positions < info.max_context) {
    spdlog::warn("kv cache holds less than one full context positions={} max_context={}", positions,
                 info.max_context);
    info.max_context = static_cast<int32_t>(positions);
  }
  return absl::OkStatus();
}

void MakeScheduler(const EngineOptions& options, EngineParts* parts) {
  std::random_device random;
  const auto key = [&] { return (uint64_t{random()} << 32) | random(); };
  parts->pool.emplace(parts->kv->num_blocks());
  parts->hasher.emplace(key(), key());
  SchedulerOptions scheduler;
  scheduler.max_rows = options.max_rows;
  scheduler.max_sequences = options.max_sequences;
  scheduler.tenant_weights = options.tenant_weights;
  scheduler.max_tenants = options.max_tenants;
  scheduler.block_size = options.block_size;
  scheduler.max_context = parts->info.max_context;
  scheduler.prefix_cache = options.prefix_cache;
  scheduler.scratch_blocks = ScratchBlocks(options);
  scheduler.num_stages = parts->model->num_stages();
  parts->scheduler = std::make_unique<Scheduler>(scheduler, &*parts->pool, &*parts->hasher);
}

absl::Status LoadModel(const EngineOptions& options, const PartsOverrides& overrides,
                       EngineParts* parts) {
  ModelInfo& info = parts->info;
  const std::string& directory = options.model_directory;
  SPADE_ASSIGN_OR_RETURN(info.config, LoadConfig(directory));
  SPADE_ASSIGN_OR_RETURN(info.max_context, ChooseContext(options, info.config));
  SPADE_ASSIGN_OR_RETURN(parts->tokenizer, LoadTokenizer(directory));
  SPADE_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  ModelOptions model;
  SPADE_ASSIGN_OR_RETURN(model.weight_dtype,
                         ChooseDType(options.weight_dtype, info.config, checkpoint));
  info.weight_dtype = NameOf(model.weight_dtype);
  info.compute = options.compute == "auto" ? "" : options.compute;
  info.kv_dtype = options.kv_dtype;
  SPADE_RETURN_IF_ERROR(LoadCalibrations(options, checkpoint, *parts->tokenizer, &info));
  BackendOptions backend = options.backend;
  SPADE_RETURN_IF_ERROR(ResolveCompute(model.weight_dtype, &backend, &info));
  if (!info.kv_dtype) info.kv_dtype = BestKvType(backend);
  SPADE_ASSIGN_OR_RETURN(parts->backend, overrides.make_backend ? overrides.make_backend(backend)
                                                                : MakeBackend(backend));
  info.device = parts->backend->description();
  model.exit_layers = ExitLayers(info, overrides.exit_layers);
  // A shadow check adds a row for each exit.
  model.max_rows = options.max_rows + std::ssize(model.exit_layers);
  model.max_output_rows = OutputRows(options, info.config);
  SPADE_ASSIGN_OR_RETURN(parts->model,
                         StagedModel::Load(parts->backend.get(), info.config, checkpoint, model));
  info.weight_bytes = parts->model->weight_bytes();
  if (!info.calibrations.empty()) SPADE_RETURN_IF_ERROR(parts->model->PrepareStart());
  if (!info.token_calibration) return absl::OkStatus();
  SPADE_ASSIGN_OR_RETURN(
      parts->token_exits,
      TokenHeads::Create(parts->backend.get(), info.config, checkpoint, *info.token_calibration,
                         model.weight_dtype, options.max_rows));
  return absl::OkStatus();
}

}  // namespace

int32_t MaxParked(const EngineOptions& options) {
  const int32_t running = std::min(options.max_sequences, options.max_rows);
  return std::min(kMostParked, options.max_rows / running - 1);
}

absl::Status MakeRunner(const EngineOptions& options, EngineParts* parts) {
  const ModelInfo& info = parts->info;
  StepRunner::Options runner;
  runner.max_rows = options.max_rows;
  runner.max_output_rows = OutputRows(options, info.config);
  runner.max_sequences = std::min(options.max_sequences, options.max_rows);
  runner.max_blocks = std::min((info.max_context + options.block_size - 1) / options.block_size,
                               parts->kv->num_blocks());
  runner.max_parked = MaxParked(options);
  runner.early_exit = parts->model->num_stages() > 1;
  runner.hold = options.hold;
  SPADE_ASSIGN_OR_RETURN(parts->runner,
                         StepRunner::Create(parts->backend.get(), parts->model.get(),
                                            parts->kv->views(), parts->token_exits.get(), runner));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<EngineParts>> LoadEngineParts(const EngineOptions& options,
                                                             const PartsOverrides& overrides) {
  SPADE_RETURN_IF_ERROR(CheckOptions(options));
  const Clock::time_point begin = Clock::now();
  auto parts = std::make_unique<EngineParts>();
  SPADE_RETURN_IF_ERROR(LoadModel(options, overrides, parts.get()));
  SPADE_RETURN_IF_ERROR(MakeKv(options, parts.get()));
  MakeScheduler(options, parts.get());
  SPADE_RETURN_IF_ERROR(MakeRunner(options, parts.get()));
  const ModelInfo& info = parts->info;
  spdlog::info(
      "engine loaded model={} device=\"{}\" weight_dtype={} compute={} kv_dtype={} "
      "load_s={:.2f} weight_bytes={} kv_bytes={} kv_blocks={} max_context={} resident_bytes={}",
      options.model_name, info.device, info.weight_dtype, info.compute, NameOf(*info.kv_dtype),
      SecondsBetween(begin, Clock::now()), info.weight_bytes, info.kv_bytes,
      parts->kv->num_blocks(), info.max_context, ResidentMemory(MemorySources{}));
  return parts;
}

}  // namespace spade
