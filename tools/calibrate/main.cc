// spade-calibrate: fits and certifies early exit, for one model and one set of labels or for
// generation.

#include <CLI/CLI.hpp>
#include <map>

#include "absl/strings/str_format.h"
#include "tools/calibrate/commands.h"
#include "tools/trace/type_names.h"

namespace spade {
namespace {

void AddArguments(CLI::App& app, Arguments& arguments) {
  static const auto kDtypeNames = ByName(kWeightTypes);
  static const auto kComputeNames = ByName(kComputes);
  static const auto kKvDtypeNames = ByName(kKvTypes);
  static const std::map<std::string, FitTarget> kTargets = {{"spade", FitTarget::kSpade},
                                                            {"full", FitTarget::kFull}};
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
  app.add_flag("--generate", arguments.generate,
               "calibrate generation in place of decisions: prompts are continued greedily");
  app.add_option("--tokens", arguments.token_traces.num_tokens, "--generate: tokens drawn a prompt")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--rows", arguments.token_traces.rows_per_prompt,
                 "--generate: rows used of each prompt's (one to certify)")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--fit-to", arguments.fit_to,
                 "what L-SPADE learns to foretell: spade, the SPADE pass from its layer, or full, "
                 "full depth (default: both, and each layer keeps what is nearer to full depth on "
                 "validation prompts). Certificates are about full depth's answers in any case")
      ->transform(CLI::CheckedTransformer(kTargets, CLI::ignore_case));
  app.add_option("--rank", arguments.token_calibrate.rank,
                 "--generate: of L-SPADE's map (default: a third of the hidden size)")
      ->check(CLI::Range(1, 4096));
  app.add_option("--candidates", arguments.token_calibrate.max_candidates,
                 "--generate: tokens that may be drawn early, at most")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  app.add_option("--device", arguments.collect.load.device, "cpu or cuda")->capture_default_str();
  app.add_option("--weight-dtype", arguments.collect.load.weight_dtype,
                 "weights as the server will hold them: f32, f16, bf16 (default) or int8")
      ->transform(CLI::CheckedTransformer(kDtypeNames, CLI::ignore_case));
  app.add_option("--compute", arguments.collect.load.compute,
                 "type of products as the server will use it: f32, f16, bf16 or int8 (default: "
                 "the fastest that costs little on the device)")
      ->transform(CLI::CheckedTransformer(kComputeNames, CLI::ignore_case));
  app.add_option(
         "--kv-dtype", arguments.collect.load.kv_dtype,
         "keys and values as the server will keep them: f32 or bf16 (default: f32; on cuda bf16, "
         "unless products are in f32)")
      ->transform(CLI::CheckedTransformer(kKvDtypeNames, CLI::ignore_case));
  app.add_option("--max-mismatch", arguments.calibrate.max_mismatches,
                 "bounds to certify (default 0.005 0.01 0.02 0.05 0.1)")
      ->check(CLI::Range(1e-6, 0.9999));
  app.add_option("--confidence", arguments.calibrate.confidence, "of every certificate")
      ->check(CLI::Range(0.5, 0.9999))
      ->capture_default_str();
  app.add_option("--min-exits", arguments.min_exits,
                 "fewest exit layers, whether they pay or not (default 4; --generate: 1)")
      ->check(CLI::Range(1, 64));
  app.add_option("--max-exits", arguments.max_exits,
                 "most exit layers (default 8): fewer are kept where more do not pay")
      ->check(CLI::Range(1, 64));
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

}  // namespace
}  // namespace spade

int main(int argc, char** argv) {
  CLI::App app(
      "Fits and certifies early exit: for one model and one set of labels, or for generation.\n"
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
  const absl::Status status = arguments.generate ? spade::CalibrateGeneration(std::move(arguments))
                                                 : spade::CalibrateLabels(std::move(arguments));
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "spade-calibrate: %s\n", std::string(status.message()));
  return 1;
}
