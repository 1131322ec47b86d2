#include "tools/calibrate/report.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "tools/calibrate/certificate_text.h"

namespace spade {
namespace {

bool IsChosen(const CalibrateResult& result, int32_t layer) {
  return std::ranges::any_of(result.calibration.exits,
                             [&](const ExitHead& exit) { return exit.layer == layer; });
}

// Of validation prompts: L-SPADE's answers count there, not on those that certify.
std::string FormatLayers(const CalibrateResult& result) {
  std::string text =
      "L-SPADE and the lens: agreement with full depth / with SPADE; KL from full depth, nats\n"
      "layer        lens";
  text += FitTitles(result.heads.front().fits) + "\n";
  for (size_t i = 0; i < result.heads.size(); ++i) {
    const HeadRow& head = result.heads[i];
    const int32_t layer = result.table.rows[i].layer;
    absl::StrAppendFormat(&text, "%5d  %5.3f/%5.3f", layer, head.lens_matches_full,
                          head.lens_matches_spade);
    text += FitCells(head.fits);
    text += IsChosen(result, layer) ? "   exit\n" : "\n";
  }
  text += "SPADE's agreement with full depth on the prompts that certify, kept / reset\n";
  for (const LayerRow& row : result.table.rows) {
    absl::StrAppendFormat(&text, "%5d  %5.3f/%5.3f\n", row.layer, row.kept.agreement,
                          row.reset.agreement);
  }
  return text;
}

}  // namespace

std::string FormatResult(const CalibrateResult& result) {
  const Calibration& calibration = result.calibration;
  std::string text = absl::StrFormat(
      "prompts: %d to fit, %d to validate, %d to certify\n"
      "answer row's position in the SPADE pass: %s\n"
      "one check costs %.3f layer-rows\n\n",
      result.fit_prompts, result.validation_prompts, result.certification_prompts,
      calibration.position == SpadePosition::kKept ? "kept" : "reset", result.costs.check);
  text += FormatLayers(result) + "\n";
  std::vector<int32_t> layers;
  for (const ExitHead& exit : calibration.exits) layers.push_back(exit.layer);
  text += FormatChoice(result.choice, layers, "compute saved");
  for (const Certificate& certificate : calibration.certificates) {
    text += FormatCertificate(certificate, layers, "prompts", "compute saved");
  }
  if (calibration.certificates.empty()) {
    text += "No bound could be certified: FAST requests will be refused. More prompts may help.\n";
  }
  absl::StrAppendFormat(&text, "a perfect gate at these exits would save %.2f%%\n",
                        100 * result.oracle_saving);
  return text;
}

}  // namespace spade
