#include "tools/calibrate/token_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "tools/calibrate/certificate_text.h"

namespace spade {
namespace {

bool IsChosen(const TokenCalibration& calibration, int32_t layer) {
  return std::ranges::any_of(calibration.exits,
                             [layer](const TokenExit& exit) { return exit.layer == layer; });
}

}  // namespace

std::string FormatTokenResult(const TokenCalibrateResult& result) {
  const TokenCalibration& calibration = result.calibration;
  std::string text = absl::StrFormat(
      "rows: %d to fit, %d to validate, %d to certify (one a prompt)\n"
      "%d candidates cover %.2f%% of the tokens; rank %d; one check costs %.3f layer-rows\n"
      "\nL-SPADE: agreement with full depth / with SPADE; KL from full depth, nats\n"
      "layer     lens    SPADE%s\n",
      result.fit_rows, result.validation_rows, result.certification_rows,
      calibration.candidates.size(), 100 * result.coverage, calibration.rank, result.costs.check,
      FitTitles(result.table.front().fits));
  for (const TokenRow& row : result.table) {
    absl::StrAppendFormat(&text, "%5d    %5.3f    %5.3f", row.layer, row.lens_full, row.spade_full);
    text += FitCells(row.fits);
    text += IsChosen(calibration, row.layer) ? "   exit\n" : "\n";
  }
  text += "\nWhat a token's row puts off at its exit runs beside the next row that goes deeper.\n";
  std::vector<int32_t> layers;
  for (const TokenExit& exit : calibration.exits) layers.push_back(exit.layer);
  text += FormatChoice(result.choice, layers, "layer work put off");
  absl::StrAppendFormat(&text, "drafts gain most after layer %d\n", result.draft_layer);
  for (const Certificate& certificate : calibration.certificates) {
    text += FormatCertificate(certificate, layers, "tokens", "layer work put off");
  }
  if (calibration.certificates.empty()) {
    text += "No bound could be certified: FAST will be refused; VERIFIED needs none.\n";
  }
  absl::StrAppendFormat(&text, "a perfect gate at these exits would put off %.2f%%\n",
                        100 * result.oracle_saving);
  return text;
}

}  // namespace spade
