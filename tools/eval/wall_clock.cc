#include "tools/eval/wall_clock.h"

#include <algorithm>
#include <chrono>

#include "tools/eval/exit_climb.h"
#include "tools/trace/progress.h"

namespace spade {
namespace {

constexpr int kRepeats = 5;

// Seconds a prompt, over all prompts in batches.
double TimeOnce(LoadedModel& loaded, std::span<const Prompt> prompts, size_t batch,
                const Calibration& calibration, const Certificate* certificate) {
  const auto start = std::chrono::steady_clock::now();
  for (size_t first = 0; first < prompts.size(); first += batch) {
    Climb(loaded, prompts.subspan(first, std::min(batch, prompts.size() - first)), calibration,
          certificate);
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / double(prompts.size());
}

double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + std::ssize(values) / 2);
  return values[values.size() / 2];
}

}  // namespace

std::vector<WallClock> MeasureWallClock(LoadedModel& loaded, std::span<const Prompt> prompts,
                                        const Calibration& calibration,
                                        std::span<const CertificateOutcome> outcomes,
                                        std::span<const int32_t> batch_sizes) {
  // Full depth first, then every certificate.
  std::vector<const Certificate*> variants = {nullptr};
  for (const CertificateOutcome& outcome : outcomes) variants.push_back(&outcome.certificate);
  const size_t climbs = batch_sizes.size() * kRepeats * variants.size();
  Progress progress("timing climbs", static_cast<int64_t>(climbs));
  std::vector<WallClock> clocks;
  for (const int32_t size : batch_sizes) {
    const auto batch = static_cast<size_t>(size);
    TimeOnce(loaded, prompts.first(std::min(prompts.size(), batch)), batch, calibration, nullptr);
    std::vector<std::vector<double>> seconds(variants.size());
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      for (size_t v = 0; v < variants.size(); ++v) {
        seconds[v].push_back(TimeOnce(loaded, prompts, batch, calibration, variants[v]));
        progress.Advance(1);
      }
    }
    for (size_t v = 1; v < variants.size(); ++v) {
      clocks.push_back({size, variants[v]->max_mismatch, outcomes[v - 1].mismatch,
                        Median(seconds[0]), Median(seconds[v])});
    }
  }
  return clocks;
}

}  // namespace spade
