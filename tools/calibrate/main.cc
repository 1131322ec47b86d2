// spade-calibrate: fits and certifies early exit for one model and one set of labels.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "tools/calibrate/calibrator.h"
#include "tools/calibrate/report.h"
#include "tools/trace/collect.h"
#include "tools/trace/tracer.h"

namespace spade {
namespace {

struct Arguments {
  PromptOptions prompts;
  CollectOptions collect;
  CalibrateOptions calibrate;
  std::string labels;
  std::string position = "auto";
  std::string out;
  int32_t first_layer = 0;  // 0: a third of the model
  bool keep_traces = false;
};

void AddArguments(CLI::App& app, Arguments& arguments) {
  static const std::map<std::string, DType> kDtypes = {
      {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"int8", DType::kI8}};
  app.add_option("--model", arguments.collect.load.directory, "Hugging Face model folder")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("--data", arguments.prompts.path,
                 "prompts, one JSON object a line: {\"prompt\": ..., \"label\": ...}; they must be "
                 "like the prompts to be served, since the guarantee holds for their kind only")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", arguments.out, "file to write; the server's --calibration")->required();
  app.add_option("--labels", arguments.labels,
                 "labels separated by commas, with their leading spaces: \" yes, no\"; default: "
                 "the labels in the data");
  app.add_option("--position", arguments.position,
                 "answer row's position in the SPADE pass: kept, reset or auto")
      ->check(CLI::IsMember({"kept", "reset", "auto"}))
      ->capture_default_str();
  app.add_option("--weight-dtype", arguments.collect.load.weight_dtype,
                 "weights as the server will hold them: f32, f16, bf16 (default) or int8")
      ->transform(CLI::CheckedTransformer(kDtypes, CLI::ignore_case));
  app.add_option("--max-mismatch", arguments.calibrate.max_mismatches,
                 "bounds to certify (default 0.005 0.01 0.02 0.05 0.1)")
      ->check(CLI::Range(1e-6, 1.0));
  app.add_option("--confidence", arguments.calibrate.confidence, "of every certificate")
      ->check(CLI::Range(0.5, 0.9999))
      ->capture_default_str();
  app.add_option("--min-exits", arguments.calibrate.min_exits, "fewest exit layers")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--max-exits", arguments.calibrate.max_exits, "most exit layers")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--first-layer", arguments.first_layer,
                 "earliest exit considered (default: a third of the layers)")
      ->check(CLI::PositiveNumber);
  app.add_option("--limit", arguments.prompts.limit, "read at most this many prompts")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", arguments.prompts.seed, "of the split into parts")
      ->capture_default_str();
  app.add_option("--threads", arguments.collect.load.num_threads, "0: one per core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--batch-rows", arguments.collect.load.max_rows, "rows of one climb")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_flag("--keep-traces", arguments.keep_traces,
               "keep OUT.partial, so that another run with the same prompts starts from it");
}

absl::Status Run(Arguments arguments) {
  arguments.prompts.labels = SplitLabels(arguments.labels);
  if (arguments.position != "auto") {
    arguments.calibrate.position =
        arguments.position == "kept" ? SpadePosition::kKept : SpadePosition::kReset;
  }
  std::ranges::sort(arguments.calibrate.max_mismatches);
  arguments.calibrate.num_threads = arguments.collect.load.num_threads;
  SPADE_ASSIGN_OR_RETURN(const ModelFolder folder,
                         OpenModelFolder(arguments.collect.load.directory));
  const int32_t num_layers = folder.config.num_layers;
  arguments.collect.first_layer =
      arguments.first_layer > 0 ? arguments.first_layer : std::max(1, num_layers / 3);
  if (arguments.collect.first_layer >= num_layers) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--first-layer must be below the model's %d layers", num_layers));
  }
  SPADE_ASSIGN_OR_RETURN(const PromptSet prompts,
                         LoadPrompts(arguments.prompts, *folder.tokenizer, folder.config));
  if (prompts.skipped > 0) {
    absl::FPrintF(stderr, "skipped %d prompts longer than %d tokens\n", prompts.skipped,
                  folder.config.max_context);
  }
  arguments.collect.partial_path = arguments.out + ".partial";
  SPADE_ASSIGN_OR_RETURN(const Collected collected,
                         CollectTraces(folder, prompts, arguments.collect));
  arguments.calibrate.seconds_per_layer_row = collected.seconds_per_layer_row;
  SPADE_ASSIGN_OR_RETURN(
      CalibrateResult result,
      Calibrate(collected.traces, prompts.prompts, CostsOf(folder.config), arguments.calibrate));
  Calibration& calibration = result.calibration;
  calibration.model_sha256 = folder.checkpoint->Sha256();
  calibration.tokenizer_sha256 = folder.tokenizer->sha256();
  calibration.weight_dtype = std::string(NameOf(arguments.collect.load.weight_dtype));
  calibration.label_texts = prompts.label_texts;
  calibration.label_ids = prompts.label_ids;
  SPADE_RETURN_IF_ERROR(SaveCalibration(calibration, arguments.out));
  SPADE_ASSIGN_OR_RETURN(const Calibration written, LoadCalibration(arguments.out));
  absl::PrintF("%s\nwrote %s, id %s\n", FormatResult(result), arguments.out, written.id);
  std::error_code ignored;
  if (!arguments.keep_traces) std::filesystem::remove(arguments.collect.partial_path, ignored);
  return absl::OkStatus();
}

}  // namespace
}  // namespace spade

int main(int argc, char** argv) {
  CLI::App app(
      "Fits and certifies early exit for one model and one set of labels.\n"
      "Interrupt it at any time: the same command goes on where it stopped.\n"
      "Exit status: 0 done, 1 failed, 2 wrong usage.",
      "spade-calibrate");
  spade::Arguments arguments;
  spade::AddArguments(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::Status status = spade::Run(std::move(arguments));
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "spade-calibrate: %s\n", std::string(status.message()));
  return 1;
}
