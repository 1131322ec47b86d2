#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/exit/calibration.h"
#include "engine/kv/kv_cache.h"
#include "engine/model/model_config.h"
#include "engine/model/staged_model.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/backend.h"

namespace spade {

struct LoadOptions {
  std::string directory;  // a Hugging Face model folder
  std::string device = "cpu";
  DType weight_dtype = DType::kBF16;
  std::optional<Compute> compute = std::nullopt;  // type of products; none: BestCompute
  std::optional<DType> kv_dtype = std::nullopt;   // none: BestKvType
  int32_t num_threads = 0;                        // 0: one per allowed core
  int64_t max_rows = 2048;                        // of one climb
};

// `options.compute` and `options.kv_dtype`, or what they stand for.
Compute ComputeOf(const LoadOptions& options);
DType KvTypeOf(const LoadOptions& options);
// Names all types that its numbers depend on.
std::string TypesOf(const LoadOptions& options);

// What a model folder holds, read before weights are packed.
struct ModelFolder {
  ModelConfig config;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
};

absl::StatusOr<ModelFolder> OpenModelFolder(const std::string& directory);

// Says of a calibration what it is made for.
void Identify(const ModelFolder& folder, const LoadOptions& options,
              CalibrationIdentity& calibration);

// A model ready to climb: weights, start token and room for `max_rows` rows of KV.
class LoadedModel {
 public:
  // FAILED_PRECONDITION where the model has no start token, which the SPADE pass needs.
  static absl::StatusOr<std::unique_ptr<LoadedModel>> Load(const ModelFolder& folder,
                                                           const LoadOptions& options,
                                                           const std::vector<int32_t>& exit_layers);

  Backend& backend() { return *backend_; }
  StagedModel& model() { return *model_; }
  const KvCache& kv() const { return *kv_; }
  int64_t max_rows() const { return max_rows_; }

  // The batch of whole prompts, each from position 0, with room for `more` positions behind it; at
  // most max_rows() rows, room included. Blocks are numbered afresh in every batch.
  RowBatch BatchOf(const std::vector<const std::vector<TokenId>*>& prompts, int32_t more = 0) const;

 private:
  LoadedModel() = default;

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<StagedModel> model_;
  std::optional<KvCache> kv_;
  int64_t max_rows_ = 0;
};

}  // namespace spade
