#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/sha256.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "tools/calibrate/commands.h"
#include "tools/calibrate/first_layer.h"
#include "tools/calibrate/token_report.h"
#include "tools/trace/progress.h"
#include "tools/trace/trace_file.h"
#include "tools/trace/tracer.h"

namespace spade {
namespace {

// Names everything that the traces depend on.
std::string KeyOf(const ModelFolder& folder, const PromptSet& prompts, const Arguments& arguments) {
  const TokenTraceOptions& traces = arguments.token_traces;
  return Sha256Hex(absl::StrCat("spade-token-traces-4\n", folder.checkpoint->Sha256(), "\n",
                                folder.tokenizer->sha256(), "\n", prompts.data_sha256, "\n",
                                prompts.prompts.size(), "\n", traces.first_layer, "\n",
                                traces.num_tokens, "\n", traces.rows_per_prompt, "\n", traces.seed,
                                "\n", TypesOf(arguments.collect.load)));
}

// Prompts that leave room for the tokens to be generated.
absl::Status DropLongPrompts(const ModelConfig& config, int32_t num_tokens, PromptSet& set) {
  const auto longest = static_cast<size_t>(std::max(config.max_context - num_tokens, 0));
  set.skipped += static_cast<int64_t>(std::erase_if(
      set.prompts, [longest](const Prompt& prompt) { return prompt.ids.size() > longest; }));
  if (set.skipped > 0) {
    absl::FPrintF(stderr, "skipped %d prompts longer than %d tokens\n", set.skipped, longest);
  }
  if (!set.prompts.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("no prompt leaves room for --tokens in the model's context");
}

absl::StatusOr<TokenTraces> Collect(const ModelFolder& folder, LoadedModel& loaded,
                                    const PromptSet& prompts, const Arguments& arguments) {
  TokenTracer tracer(loaded, arguments.token_traces);
  TokenTraces traces = tracer.shape();
  const std::span<const Prompt> all(prompts.prompts);
  const int64_t prompt_floats = traces.record_floats() * traces.rows_per_prompt;
  SPADE_ASSIGN_OR_RETURN(
      TraceFile file, TraceFile::Open(arguments.out + ".partial", KeyOf(folder, prompts, arguments),
                                      prompt_floats, all.size()));
  traces.values = file.TakeRecords();
  size_t done = traces.values.size() / static_cast<size_t>(prompt_floats);
  Progress progress("continuing prompts", std::ssize(all), static_cast<int64_t>(done));
  while (done < all.size()) {
    const size_t count = tracer.BatchSize(all.subspan(done));
    SPADE_ASSIGN_OR_RETURN(const std::vector<float> records,
                           tracer.Trace(all.subspan(done, count), done));
    SPADE_RETURN_IF_ERROR(file.Append(records));
    traces.values.insert(traces.values.end(), records.begin(), records.end());
    done += count;
    progress.Advance(static_cast<int64_t>(count));
  }
  return traces;
}

}  // namespace

absl::Status CalibrateGeneration(Arguments arguments) {
  arguments.prompts.labelled = false;
  TokenCalibrateOptions& options = arguments.token_calibrate;
  if (!arguments.calibrate.max_mismatches.empty()) {
    options.max_mismatches = arguments.calibrate.max_mismatches;
  }
  std::ranges::sort(options.max_mismatches);
  SetExits(arguments, options);
  options.confidence = arguments.calibrate.confidence;
  options.num_threads = arguments.collect.load.num_threads;
  SPADE_ASSIGN_OR_RETURN(const ModelFolder folder,
                         OpenModelFolder(arguments.collect.load.directory));
  SPADE_ASSIGN_OR_RETURN(arguments.token_traces.first_layer,
                         FirstLayer(arguments.first_layer, folder.config.num_layers));
  SPADE_ASSIGN_OR_RETURN(PromptSet prompts,
                         LoadPrompts(arguments.prompts, *folder.tokenizer, folder.config));
  SPADE_RETURN_IF_ERROR(DropLongPrompts(folder.config, arguments.token_traces.num_tokens, prompts));
  const std::vector<int32_t> layers =
      WatchedLayers(arguments.token_traces.first_layer, folder.config.num_layers);
  SPADE_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedModel> loaded,
                         LoadedModel::Load(folder, arguments.collect.load, layers));
  SPADE_ASSIGN_OR_RETURN(const TokenTraces traces, Collect(folder, *loaded, prompts, arguments));
  SPADE_ASSIGN_OR_RETURN(
      TokenCalibrateResult result,
      CalibrateTokens(folder, loaded->backend(), arguments.collect.load.weight_dtype, traces,
                      prompts.prompts, options));
  TokenCalibration& calibration = result.calibration;
  Identify(folder, arguments.collect.load, calibration);
  SPADE_RETURN_IF_ERROR(SaveTokenCalibration(calibration, arguments.out));
  SPADE_ASSIGN_OR_RETURN(const TokenCalibration written, LoadTokenCalibration(arguments.out));
  absl::PrintF("%s\nwrote %s, id %s\n", FormatTokenResult(result), arguments.out, written.id);
  std::error_code ignored;
  if (!arguments.keep_traces) std::filesystem::remove(arguments.out + ".partial", ignored);
  return absl::OkStatus();
}

}  // namespace spade
