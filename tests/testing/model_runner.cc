#include "tests/testing/model_runner.h"

#include <algorithm>
#include <iostream>
#include <numeric>
#include <utility>

#include "tests/testing/reference_backend.h"

namespace spade::testing {
namespace {

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  if (!value.ok()) std::cerr << value.status() << "\n";
  SPADE_CHECK(value.ok());
  return *std::move(value);
}

}  // namespace

std::unique_ptr<Backend> MakeTestBackend(const std::string& name, Compute compute) {
  if (name == "reference") return MakeReferenceBackend(compute);
  BackendOptions options;
  options.compute = compute;
  options.num_threads = 2;
  options.pin_threads = false;
  const size_t star = std::min(name.find('*'), name.size());
  if (star < name.size()) options.tensor_parallel = std::stoi(name.substr(star + 1));
  const size_t colon = name.find(':');
  options.device = name.substr(0, std::min(colon, star));
  if (colon != std::string::npos) options.cpu_isa = name.substr(colon + 1);
  return ValueOrDie(MakeBackend(options));
}

bool HasCuda(int32_t gpus) {
  return MakeBackend({.device = "cuda", .tensor_parallel = gpus, .num_threads = 1}).ok();
}

ModelConfig LoadConfigOrDie(const std::string& directory) {
  constexpr size_t kMaxBytes = 1 << 20;
  const std::string config = ValueOrDie(ReadTextFile(directory + "/config.json", kMaxBytes));
  const auto generation = ReadTextFile(directory + "/generation_config.json", kMaxBytes);
  return ValueOrDie(ParseModelConfig(config, generation.value_or("")));
}

std::unique_ptr<StagedModel> LoadModelOrDie(Backend* backend, const std::string& directory,
                                            const ModelOptions& options) {
  const Checkpoint checkpoint = ValueOrDie(Checkpoint::Open(directory));
  return ValueOrDie(StagedModel::Load(backend, LoadConfigOrDie(directory), checkpoint, options));
}

ModelRunner::ModelRunner(Backend* backend, StagedModel* model, const Options& options)
    : model_(model), vocab_size_(model->config().vocab_size) {
  const ModelConfig& config = model->config();
  const ModelConfig shard = ValueOrDie(ShardOf(config, backend->shards()));
  table_stride_ = (config.max_context + options.block_size - 1) / options.block_size;
  const int32_t num_blocks = table_stride_ * options.num_sequences;
  const auto bytes =
      static_cast<size_t>(shard.heads().kv_cols() * num_blocks * options.block_size) *
      SizeOf(options.kv_dtype);
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    buffers_.push_back(ValueOrDie(backend->Allocate(bytes)));
    buffers_.push_back(ValueOrDie(backend->Allocate(bytes)));
    views_.push_back(KvView{buffers_.end()[-2].data(), buffers_.end()[-1].data(), options.kv_dtype,
                            options.block_size});
  }
  // Sequences' blocks interleave, last sequence first.
  for (int32_t sequence = 0; sequence < options.num_sequences; ++sequence) {
    for (int32_t i = 0; i < table_stride_; ++i) {
      block_tables_.push_back((i + 1) * options.num_sequences - 1 - sequence);
    }
  }
}

void ModelRunner::Add(int32_t sequence, int32_t first, std::span<const TokenId> ids,
                      Outputs outputs) {
  batch_.block_tables = block_tables_;
  batch_.table_stride = table_stride_;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool is_last = i + 1 == ids.size();
    batch_.ids.push_back(ids[i]);
    batch_.positions.push_back(first + static_cast<int32_t>(i));
    batch_.sequences.push_back(sequence);
    batch_.wants_output.push_back(outputs == Outputs::kAll ||
                                  (outputs == Outputs::kLast && is_last));
  }
}

std::vector<std::vector<float>> ModelRunner::Run() {
  model_->Begin(batch_);
  for (int32_t stage = 0; stage < model_->num_stages(); ++stage) {
    model_->RunStage(stage, batch_, views_);
  }
  auto logits = LogitsOfAllRows();
  batch_.Clear();
  return logits;
}

std::vector<std::vector<float>> ModelRunner::Prefill(int32_t sequence, int32_t first,
                                                     std::span<const TokenId> ids) {
  Add(sequence, first, ids, Outputs::kAll);
  return Run();
}

std::vector<std::vector<float>> ModelRunner::LogitsOfAllRows() {
  std::vector<int32_t> rows(static_cast<size_t>(batch_.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  const float* logits = model_->Logits(rows);
  std::vector<std::vector<float>> result;
  for (size_t row = 0; row < rows.size(); ++row) {
    const float* first = logits + row * static_cast<size_t>(vocab_size_);
    result.emplace_back(first, first + vocab_size_);
  }
  return result;
}

}  // namespace spade::testing
