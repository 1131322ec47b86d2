#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/model/checkpoint.h"
#include "tools/calibrate/commands.h"
#include "tools/calibrate/first_layer.h"
#include "tools/calibrate/report.h"
#include "tools/trace/tracer.h"

namespace spade {

absl::Status CalibrateLabels(Arguments arguments) {
  arguments.prompts.labels = SplitLabels(arguments.labels);
  if (arguments.position != "auto") {
    arguments.calibrate.position =
        arguments.position == "kept" ? SpadePosition::kKept : SpadePosition::kReset;
  }
  SetExits(arguments, arguments.calibrate);
  std::ranges::sort(arguments.calibrate.max_mismatches);
  arguments.calibrate.num_threads = arguments.collect.load.num_threads;
  SPADE_ASSIGN_OR_RETURN(const ModelFolder folder,
                         OpenModelFolder(arguments.collect.load.directory));
  SPADE_ASSIGN_OR_RETURN(arguments.collect.first_layer,
                         FirstLayer(arguments.first_layer, folder.config.num_layers));
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
  Identify(folder, arguments.collect.load, calibration);
  calibration.label_texts = prompts.label_texts;
  calibration.label_ids = prompts.label_ids;
  SPADE_RETURN_IF_ERROR(SaveCalibration(calibration, arguments.out));
  SPADE_ASSIGN_OR_RETURN(const Calibration written, LoadCalibration(arguments.out));
  absl::PrintF("%s\nwrote %s, id %s\n", FormatResult(result), arguments.out, written.id);
  std::error_code ignored;
  if (!arguments.keep_traces) std::filesystem::remove(arguments.collect.partial_path, ignored);
  return absl::OkStatus();
}

}  // namespace spade
