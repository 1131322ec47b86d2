#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model/staged_model.h"
#include "kernels/backend.h"

namespace spade::testing {

// "cpu", "reference" (reference_backend.h; F32), "cpu:<isa>", or "cuda" if HasCuda; "cpu*2" or
// "cuda*2": tensor-parallel over so many. Two threads.
std::unique_ptr<Backend> MakeTestBackend(const std::string& name, Compute compute = Compute::kF32);
// Whether this build and machine have so many GPUs, and what joins them.
bool HasCuda(int32_t gpus = 1);

// config.json and generation_config.json of a model folder, which are well-formed.
ModelConfig LoadConfigOrDie(const std::string& directory);
std::unique_ptr<StagedModel> LoadModelOrDie(Backend* backend, const std::string& directory,
                                            const ModelOptions& options);

// Drives a StagedModel as the engine does, over a paged cache whose blocks lie scattered.
class ModelRunner {
 public:
  struct Options {
    int32_t num_sequences = 4;
    int32_t block_size = 16;
    DType kv_dtype = DType::kF32;
  };
  enum class Outputs { kNone, kLast, kAll };

  // `backend` and `model` outlive this.
  ModelRunner(Backend* backend, StagedModel* model, const Options& options);
  ModelRunner(Backend* backend, StagedModel* model) : ModelRunner(backend, model, Options{}) {}

  // Plans the rows of `ids` at positions first, first + 1, ... of a sequence.
  void Add(int32_t sequence, int32_t first, std::span<const TokenId> ids, Outputs outputs);
  // Runs every stage and returns the logits of each row that wanted output, in order.
  std::vector<std::vector<float>> Run();
  // Add and Run: the logits of all rows of `ids`.
  std::vector<std::vector<float>> Prefill(int32_t sequence, int32_t first,
                                          std::span<const TokenId> ids);

  // For tests that climb stage by stage.
  RowBatch& batch() { return batch_; }
  std::span<const KvView> kv() const { return views_; }
  std::vector<std::vector<float>> LogitsOfAllRows();

 private:
  StagedModel* model_;
  int32_t vocab_size_;
  std::vector<Buffer> buffers_;
  std::vector<KvView> views_;
  std::vector<int32_t> block_tables_;
  int32_t table_stride_;
  RowBatch batch_;
};

}  // namespace spade::testing
