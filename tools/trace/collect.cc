#include "tools/trace/collect.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "tools/trace/progress.h"
#include "tools/trace/trace_file.h"
#include "tools/trace/tracer.h"

namespace spade {
namespace {

constexpr size_t kSpeedProbe = 16;  // prompts run again to time a layer when all traces were kept

// Names everything that the traces depend on.
std::string KeyOf(const ModelFolder& folder, const PromptSet& prompts,
                  const CollectOptions& options) {
  std::string text = absl::StrCat("spade-traces-3\n", folder.checkpoint->Sha256(), "\n",
                                  folder.tokenizer->sha256(), "\n", prompts.data_sha256, "\n",
                                  prompts.prompts.size(), "\n", options.first_layer, "\n",
                                  TypesOf(options.load), "\n");
  for (const TokenId id : prompts.label_ids) absl::StrAppend(&text, id, ",");
  return Sha256Hex(text);
}

}  // namespace

absl::StatusOr<Collected> CollectTraces(const ModelFolder& folder, const PromptSet& prompts,
                                        const CollectOptions& options) {
  const std::vector<int32_t> layers = WatchedLayers(options.first_layer, folder.config.num_layers);
  SPADE_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedModel> loaded,
                         LoadedModel::Load(folder, options.load, layers));
  Tracer tracer(*loaded, options.first_layer, prompts.label_ids);
  const std::span<const Prompt> all(prompts.prompts);
  Collected collected{Traces{tracer.shape(), {}}, 0};
  std::optional<TraceFile> file;
  if (!options.partial_path.empty()) {
    SPADE_ASSIGN_OR_RETURN(TraceFile opened,
                           TraceFile::Open(options.partial_path, KeyOf(folder, prompts, options),
                                           tracer.shape().record_floats(), all.size()));
    collected.traces.values = opened.TakeRecords();
    file.emplace(std::move(opened));
  }
  size_t done = collected.traces.prompts();
  {
    Progress progress("tracing prompts", static_cast<int64_t>(all.size()),
                      static_cast<int64_t>(done));
    while (done < all.size()) {
      const size_t count = tracer.BatchSize(all.subspan(done));
      const std::vector<float> records = tracer.Trace(all.subspan(done, count));
      if (file.has_value()) SPADE_RETURN_IF_ERROR(file->Append(records));
      std::vector<float>& values = collected.traces.values;
      values.insert(values.end(), records.begin(), records.end());
      done += count;
      progress.Advance(static_cast<int64_t>(count));
    }
  }
  if (tracer.seconds_per_layer_row() <= 0) {
    const auto probe = all.first(std::min(all.size(), kSpeedProbe));
    tracer.Trace(probe.first(tracer.BatchSize(probe)));
  }
  collected.seconds_per_layer_row = tracer.seconds_per_layer_row();
  return collected;
}

}  // namespace spade
