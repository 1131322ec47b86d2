// spade-eval: what early exit does to a model's answers and to its speed.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "loadtest/write_file.h"
#include "tools/eval/html_report.h"
#include "tools/eval/text_report.h"
#include "tools/eval/wall_clock.h"
#include "tools/trace/collect.h"
#include "tools/trace/exit_columns.h"
#include "tools/trace/tracer.h"
#include "tools/trace/type_names.h"

namespace spade {
namespace {

constexpr size_t kWallClockPrompts = 64;
constexpr int32_t kBatchSizes[] = {1, 32};

struct Arguments {
  PromptOptions prompts;
  CollectOptions collect;
  std::string labels;
  std::string calibration;
  std::string html;
  bool no_wall_clock = false;
  DType baseline_dtype = DType::kBF16;
  std::optional<Compute> baseline_compute;
};

void AddArguments(CLI::App& app, Arguments& arguments) {
  static const auto kDtypeNames = ByName(kWeightTypes);
  static const auto kComputeNames = ByName(kComputes);
  app.add_option("--model", arguments.collect.load.directory, "Hugging Face model folder")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("--data", arguments.prompts.path,
                 "prompts, one JSON object a line: {\"prompt\": ..., \"label\": ...}")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--calibration", arguments.calibration, "file of spade-calibrate")
      ->check(CLI::ExistingFile);
  app.add_option("--html", arguments.html, "also write the report as one HTML page");
  app.add_option("--labels", arguments.labels,
                 "labels separated by commas, with their leading spaces; default: the "
                 "calibration's, else the labels in the data");
  app.add_option("--device", arguments.collect.load.device, "cpu or cuda")->capture_default_str();
  app.add_option("--weight-dtype", arguments.collect.load.weight_dtype,
                 "f32, f16, bf16 (default) or int8")
      ->transform(CLI::CheckedTransformer(kDtypeNames, CLI::ignore_case));
  app.add_option(
         "--compute", arguments.collect.load.compute,
         "type of products, f32, f16, bf16 or int8 (default: the calibration's, else the fastest "
         "that costs little on the device)")
      ->transform(CLI::CheckedTransformer(kComputeNames, CLI::ignore_case));
  app.add_option("--baseline-compute", arguments.baseline_compute,
                 "also answer with products of this type, and say how many answers agree")
      ->transform(CLI::CheckedTransformer(kComputeNames, CLI::ignore_case));
  app.add_option("--baseline-weight-dtype", arguments.baseline_dtype,
                 "weights of --baseline-compute (default bf16)")
      ->transform(CLI::CheckedTransformer(kDtypeNames, CLI::ignore_case));
  app.add_option("--first-layer", arguments.collect.first_layer, "earliest layer in the tables")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--limit", arguments.prompts.limit, "read at most this many prompts")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", arguments.collect.load.num_threads, "0: one per core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--batch-rows", arguments.collect.load.max_rows, "rows of one climb")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--traces", arguments.collect.partial_path,
                 "keep traces in this file, and start from it when it fits");
  app.add_flag("--no-wall-clock", arguments.no_wall_clock, "skip the timed climbs");
}

absl::Status CheckCalibration(const Calibration& calibration, const ModelFolder& folder,
                              const Arguments& arguments) {
  const auto other = [](const char* what) {
    return absl::FailedPreconditionError(
        absl::StrCat("the calibration is of another ", what, ": run spade-calibrate again"));
  };
  if (calibration.model_sha256 != folder.checkpoint->Sha256()) return other("model");
  if (calibration.tokenizer_sha256 != folder.tokenizer->sha256()) return other("tokenizer");
  if (calibration.hidden_size != folder.config.hidden_size) return other("hidden size");
  if (calibration.exits.back().layer >= folder.config.num_layers) return other("depth");
  if (calibration.weight_dtype != NameOf(arguments.collect.load.weight_dtype)) {
    return other("weight dtype (give the same --weight-dtype)");
  }
  if (calibration.compute != ComputeOf(arguments.collect.load)) {
    return other("type of products (give the same --compute)");
  }
  if (calibration.exits.front().layer < arguments.collect.first_layer) {
    return absl::InvalidArgumentError(absl::StrCat("--first-layer must be at most ",
                                                   calibration.exits.front().layer,
                                                   ", the calibration's first exit"));
  }
  return absl::OkStatus();
}

absl::Status TimeClimbs(const ModelFolder& folder, const Calibration& calibration,
                        const PromptSet& prompts, const Arguments& arguments,
                        Evaluation& evaluation) {
  std::vector<int32_t> exit_layers;
  for (const ExitHead& exit : calibration.exits) exit_layers.push_back(exit.layer);
  LoadOptions load = arguments.collect.load;
  const int64_t largest_batch = kBatchSizes[std::size(kBatchSizes) - 1];
  load.max_rows = std::max(load.max_rows, largest_batch * folder.config.max_context);
  int64_t longest = 0;
  for (const Prompt& prompt : prompts.prompts) {
    longest = std::max(longest, static_cast<int64_t>(prompt.ids.size()));
  }
  load.max_rows = std::min(load.max_rows, largest_batch * longest);
  SPADE_ASSIGN_OR_RETURN(const std::unique_ptr<LoadedModel> loaded,
                         LoadedModel::Load(folder, load, exit_layers));
  const std::span<const Prompt> all(prompts.prompts);
  const auto timed = all.first(std::min(all.size(), kWallClockPrompts));
  evaluation.wall_clock =
      MeasureWallClock(*loaded, timed, calibration, evaluation.certificates, kBatchSizes);
  evaluation.sweep_clock =
      MeasureWallClock(*loaded, timed, calibration, evaluation.sweep, kBatchSizes);
  return absl::OkStatus();
}

absl::StatusOr<Baseline> RunBaseline(const ModelFolder& folder, const PromptSet& prompts,
                                     const Traces& traces, const Arguments& arguments) {
  CollectOptions collect = arguments.collect;
  collect.load.weight_dtype = arguments.baseline_dtype;
  collect.load.compute = arguments.baseline_compute;
  collect.first_layer = folder.config.num_layers - 1;
  collect.partial_path.clear();
  SPADE_ASSIGN_OR_RETURN(const Collected collected, CollectTraces(folder, prompts, collect));
  return CompareWith(collected.traces, TypesOf(collect.load), traces, prompts.prompts);
}

absl::Status Run(Arguments arguments) {
  SPADE_ASSIGN_OR_RETURN(const ModelFolder folder,
                         OpenModelFolder(arguments.collect.load.directory));
  arguments.prompts.labels = SplitLabels(arguments.labels);
  std::optional<Calibration> calibration;
  if (!arguments.calibration.empty()) {
    SPADE_ASSIGN_OR_RETURN(calibration, LoadCalibration(arguments.calibration));
    if (!arguments.collect.load.compute) {
      arguments.collect.load.compute = calibration->compute;
    }
    arguments.collect.load.kv_dtype = calibration->kv_dtype;
    SPADE_RETURN_IF_ERROR(CheckCalibration(*calibration, folder, arguments));
    arguments.prompts.labels = calibration->label_texts;
  }
  if (arguments.collect.first_layer >= folder.config.num_layers) {
    return absl::InvalidArgumentError("--first-layer must be below the model's layers");
  }
  SPADE_ASSIGN_OR_RETURN(const PromptSet prompts,
                         LoadPrompts(arguments.prompts, *folder.tokenizer, folder.config));
  if (calibration && calibration->label_ids != prompts.label_ids) {
    return absl::FailedPreconditionError("the calibration's labels have other token ids");
  }
  SPADE_ASSIGN_OR_RETURN(const Collected collected,
                         CollectTraces(folder, prompts, arguments.collect));
  LayerCosts costs = CostsOf(folder.config);
  if (calibration) {
    costs.check = SecondsPerCheck(calibration->exits[0], collected.traces.Hidden(0, 0)) /
                  collected.seconds_per_layer_row;
  }
  Evaluation evaluation =
      Evaluate(collected.traces, prompts.prompts, calibration ? &*calibration : nullptr, costs);
  evaluation.model = arguments.collect.load.directory;
  evaluation.data = arguments.prompts.path;
  if (arguments.baseline_compute) {
    SPADE_ASSIGN_OR_RETURN(evaluation.baseline,
                           RunBaseline(folder, prompts, collected.traces, arguments));
  }
  if (calibration && !arguments.no_wall_clock) {
    SPADE_RETURN_IF_ERROR(TimeClimbs(folder, *calibration, prompts, arguments, evaluation));
  }
  absl::PrintF("%s", FormatEvaluation(evaluation));
  if (arguments.html.empty()) return absl::OkStatus();
  return loadtest::WriteFile(arguments.html, RenderHtml(evaluation));
}

}  // namespace
}  // namespace spade

int main(int argc, char** argv) {
  CLI::App app(
      "Measures what early exit does to a model's answers and to its speed.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage.",
      "spade-eval");
  spade::Arguments arguments;
  spade::AddArguments(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::Status status = spade::Run(std::move(arguments));
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "spade-eval: %s\n", std::string(status.message()));
  return 1;
}
