#include "tools/trace/loaded_model.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/mapped_file.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "kernels/check.h"

namespace spade {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr size_t kMaxTokenizerBytes = 256 << 20;
constexpr int32_t kBlockSize = 16;

int32_t BlocksFor(int64_t rows) {
  return static_cast<int32_t>((rows + kBlockSize - 1) / kBlockSize);
}

}  // namespace

Compute ComputeOf(const LoadOptions& options) {
  return options.compute.value_or(BestCompute({.device = options.device}, options.weight_dtype));
}

DType KvTypeOf(const LoadOptions& options) {
  return options.kv_dtype.value_or(
      BestKvType({.device = options.device, .compute = ComputeOf(options)}));
}

std::string TypesOf(const LoadOptions& options) {
  return absl::StrCat(std::string(NameOf(options.weight_dtype)), " weights, ",
                      std::string(NameOf(ComputeOf(options))), " products, ",
                      std::string(NameOf(KvTypeOf(options))), " cache");
}

absl::StatusOr<ModelFolder> OpenModelFolder(const std::string& directory) {
  const std::filesystem::path root(directory);
  SPADE_ASSIGN_OR_RETURN(const std::string config,
                         ReadTextFile((root / "config.json").string(), kMaxConfigBytes));
  const std::string generation_path = (root / "generation_config.json").string();
  std::string generation;
  if (std::filesystem::exists(generation_path)) {
    SPADE_ASSIGN_OR_RETURN(generation, ReadTextFile(generation_path, kMaxConfigBytes));
  }
  SPADE_ASSIGN_OR_RETURN(const std::string tokenizer,
                         ReadTextFile((root / "tokenizer.json").string(), kMaxTokenizerBytes));
  ModelFolder folder;
  SPADE_ASSIGN_OR_RETURN(folder.config, ParseModelConfig(config, generation));
  SPADE_ASSIGN_OR_RETURN(folder.tokenizer, Tokenizer::Parse(tokenizer));
  SPADE_ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(directory));
  folder.checkpoint = std::make_unique<Checkpoint>(std::move(checkpoint));
  return folder;
}

void Identify(const ModelFolder& folder, const LoadOptions& options,
              CalibrationIdentity& calibration) {
  calibration.model_sha256 = folder.checkpoint->Sha256();
  calibration.tokenizer_sha256 = folder.tokenizer->sha256();
  calibration.weight_dtype = std::string(NameOf(options.weight_dtype));
  calibration.compute = ComputeOf(options);
  calibration.kv_dtype = KvTypeOf(options);
}

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadedModel::Load(
    const ModelFolder& folder, const LoadOptions& options,
    const std::vector<int32_t>& exit_layers) {
  BackendOptions backend_options;
  backend_options.device = options.device;
  if (!Suits(backend_options, ComputeOf(options), options.weight_dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--compute ", std::string(NameOf(ComputeOf(options))),
                     " does not go with --weight-dtype ", std::string(NameOf(options.weight_dtype)),
                     " on ", options.device, "; use f32, or leave it out"));
  }
  auto loaded = std::unique_ptr<LoadedModel>(new LoadedModel());
  backend_options.num_threads = options.num_threads;
  backend_options.compute = ComputeOf(options);
  SPADE_ASSIGN_OR_RETURN(loaded->backend_, MakeBackend(backend_options));
  loaded->max_rows_ = std::max<int64_t>(options.max_rows, folder.config.max_context);
  const ModelOptions model_options{options.weight_dtype, loaded->max_rows_, loaded->max_rows_,
                                   exit_layers};
  SPADE_ASSIGN_OR_RETURN(loaded->model_, StagedModel::Load(loaded->backend_.get(), folder.config,
                                                           *folder.checkpoint, model_options));
  SPADE_RETURN_IF_ERROR(loaded->model_->PrepareStart());
  const KvShape shape{folder.config.num_layers, folder.config.num_kv_heads, folder.config.head_dim,
                      kBlockSize, KvTypeOf(options)};
  // A prompt wastes less than one block, and has at least one row.
  const auto num_blocks = static_cast<int32_t>(loaded->max_rows_);
  SPADE_ASSIGN_OR_RETURN(loaded->kv_, KvCache::Create(*loaded->backend_, shape, num_blocks));
  return loaded;
}

RowBatch LoadedModel::BatchOf(const std::vector<const std::vector<TokenId>*>& prompts,
                              int32_t more) const {
  RowBatch batch;
  for (const std::vector<TokenId>* prompt : prompts) {
    batch.table_stride =
        std::max(batch.table_stride, BlocksFor(static_cast<int64_t>(prompt->size()) + more));
  }
  int32_t next_block = 0;
  for (size_t p = 0; p < prompts.size(); ++p) {
    const std::vector<TokenId>& ids = *prompts[p];
    for (size_t row = 0; row < ids.size(); ++row) {
      batch.ids.push_back(ids[row]);
      batch.positions.push_back(static_cast<int32_t>(row));
      batch.sequences.push_back(static_cast<int32_t>(p));
      batch.wants_output.push_back(row + 1 == ids.size());
    }
    const int32_t blocks = BlocksFor(static_cast<int64_t>(ids.size()) + more);
    for (int32_t b = 0; b < batch.table_stride; ++b) {
      batch.block_tables.push_back(b < blocks ? next_block + b : 0);
    }
    next_block += blocks;
  }
  SPADE_CHECK(batch.rows() <= max_rows_ && next_block <= kv_->num_blocks());
  return batch;
}

}  // namespace spade
