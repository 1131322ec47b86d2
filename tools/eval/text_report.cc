#include "tools/eval/text_report.h"

#include "absl/strings/str_format.h"
#include "engine/exit/binomial.h"

namespace spade {
namespace {

std::string FormatTable(const LayerTable& table) {
  std::string text =
      "        accuracy / agreement with full depth\n"
      "layer   logit lens     L-SPADE        SPADE, kept    SPADE, reset\n";
  for (const LayerRow& row : table.rows) {
    absl::StrAppendFormat(&text, "%5d", row.layer);
    for (const std::optional<Quality>& quality : row.All()) {
      text += quality ? absl::StrFormat("   %5.3f/%5.3f ", quality->accuracy, quality->agreement)
                      : "        -      ";
    }
    text += "\n";
  }
  absl::StrAppendFormat(&text, " full   %5.3f\n", table.full_accuracy);
  return text;
}

std::string FormatCertificate(const CertificateOutcome& outcome, const Evaluation& evaluation) {
  const auto prompts = static_cast<double>(evaluation.table.prompts);
  std::string text = absl::StrFormat(
      "certified %.2f%%: %.2f%% of prompts leave, %.2f%% of all prompts mismatch, %.2f%% of "
      "compute saved, accuracy %.4f\n",
      100 * outcome.certificate.max_mismatch, 100 * double(outcome.replay.TotalExited()) / prompts,
      100 * outcome.mismatch, 100 * outcome.replay.NetSaving(), outcome.accuracy);
  for (size_t e = 0; e < evaluation.exit_layers.size(); ++e) {
    if (outcome.certificate.thresholds[e] <= 0) continue;
    const auto exited = static_cast<double>(outcome.replay.exited[e]);
    const auto mismatched = static_cast<double>(outcome.replay.mismatched[e]);
    absl::StrAppendFormat(&text,
                          "  layer %3d  entropy < %.4f  left %6.0f  mismatched %4.0f = %.2f%% "
                          "(95%% upper bound %.2f%%)\n",
                          evaluation.exit_layers[e], outcome.certificate.thresholds[e], exited,
                          mismatched, exited > 0 ? 100 * mismatched / exited : 0,
                          100 * FailureRateUpperBound(mismatched, exited, 0.95));
  }
  return text;
}

std::string FormatClock(const WallClock& clock) {
  const std::string certified =
      clock.max_mismatch > 0 ? absl::StrFormat("%8.2f%%", 100 * clock.max_mismatch) : "        -";
  return absl::StrFormat("%5d  %s  %7.2f%%  %7.3f ms  %7.3f ms  %8.2f%%\n", clock.batch, certified,
                         100 * clock.mismatch, 1e3 * clock.full_seconds, 1e3 * clock.exit_seconds,
                         100 * (1 - clock.exit_seconds / clock.full_seconds));
}

}  // namespace

std::string FormatEvaluation(const Evaluation& evaluation) {
  std::string text = absl::StrFormat("%d prompts, %.1f rows on average\n\n",
                                     evaluation.table.prompts, evaluation.mean_rows);
  text += FormatTable(evaluation.table);
  if (evaluation.baseline) {
    absl::StrAppendFormat(&text, "\n%s: %.2f%% of the answers at full depth agree, accuracy %.4f\n",
                          evaluation.baseline->types, 100 * evaluation.baseline->agreement,
                          evaluation.baseline->accuracy);
  }
  absl::StrAppendFormat(
      &text,
      "\nSPADE position %s; a perfect gate with an exit after every layer would save %.2f%%\n",
      evaluation.position == SpadePosition::kKept ? "kept" : "reset",
      100 * evaluation.oracle_saving_any_layer);
  if (evaluation.calibration_id.empty()) return text;
  absl::StrAppendFormat(&text, "a perfect gate at the calibration's exits would save %.2f%%\n\n",
                        100 * evaluation.oracle_saving);
  for (const CertificateOutcome& outcome : evaluation.certificates) {
    text += FormatCertificate(outcome, evaluation);
  }
  if (!evaluation.wall_clock.empty()) {
    text +=
        "\nwall clock a prompt\nbatch  certified   changed  full depth  with exits  faster by\n";
  }
  for (const auto* clocks : {&evaluation.wall_clock, &evaluation.sweep_clock}) {
    for (const WallClock& clock : *clocks) text += FormatClock(clock);
  }
  return text;
}

}  // namespace spade
